/** The exchanges by number; a fullbook's equal levels are ordered by it. */
export const EXCHANGES: readonly string[]

export interface Level {
  price: number
  quantity: number
  /** The exchange's own count, 0 where it tells none. */
  orders: number
  /** Empty but in a fullbook. */
  exchange: string
  /** The exact decimal digits, where subscribed with `exact: true`. */
  exact?: { price: string; quantity: string }
}

export interface BookMessage {
  type: 'snapshot' | 'delta'
  channel: string
  data: {
    bids: [number | string, number | string, number, string?][]
    asks: [number | string, number | string, number, string?][]
    ts: number
    seq?: number
    exch_ts?: number
    recv_ns?: number
    pub_ns?: number
    state?: 'syncing' | 'live' | 'stale' | 'resync' | 'down'
  }
  more?: true
  conflated?: number
}

export class Book {
  constructor(channel: string)
  readonly channel: string
  connected: boolean
  readonly whole: boolean
  /** ms since the epoch: the box received the newest update in here. */
  readonly ts: number
  readonly seq: number
  readonly pubNs: number
  readonly state: string
  readonly snapshots: number
  readonly deltas: number
  readonly conflated: number
  apply(message: BookMessage): void
  beat(): void
  /** Connected, whole, both sides there. */
  readonly live: boolean
  /** Live, and heard of within so many seconds (3). Subscribe with `heartbeat: 1` for it. */
  fresh(within?: number): boolean
  /** Seconds since the last message of this book. */
  readonly age: number
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
  readonly mid: number | null
  readonly spread: number | null
  readonly spreadBps: number | null
  quantity(side: 'bids' | 'asks'): number
  /** What `size` base units cost on average a unit; null when the depth is too thin. */
  averagePrice(action: 'buy' | 'sell', size: number): number | null
}

export interface Leg {
  exchange: string
  /** Of the best level. */
  price: number
  /** Of what is taken of the depth. */
  vwap: number
  age_ms: number
}

/** Bought at one exchange, sold at the other, both taker fees paid. Money in the quote asset. */
export interface Opportunity {
  symbol: string
  buy: Leg
  sell: Leg
  size: number
  notional: number
  profit: number
  net_bp: number
  /** All that pays, whatever the capital. */
  whole: { size: number; notional: number; profit: number }
  /** Of the older quote, as of now. */
  age_ms: number
  confidence: number
}

export interface ArbMessage {
  type: 'snapshot'
  channel: string
  data: Opportunity[]
  ts: number
  left_out?: number
}

export class Arb {
  constructor(channel: string)
  readonly channel: string
  connected: boolean
  readonly whole: boolean
  readonly ts: number
  readonly leftOut: number
  readonly snapshots: number
  apply(message: ArbMessage): void
  beat(): void
  /** Connected, and heard of within so many seconds (3). */
  fresh(within?: number): boolean
  /** Most profit first; none with a quote older than `maxAge` seconds (3), none while not fresh. */
  rows(maxAge?: number): Opportunity[]
}

export interface ArbOptions {
  depth?: number
  /** ms; 0: every change. */
  interval?: number
  min_bp?: number
  capital?: number
  /** s */
  heartbeat?: number
}

export interface SubscribeOptions {
  depth?: number
  mode?: 'inc' | 'snapshot'
  /** ms; 0: every change. */
  interval?: number
  exact?: boolean
  stamps?: boolean
  slow?: 'conflate' | 'resnapshot' | 'disconnect'
  /** s */
  heartbeat?: number
}

export interface ClientOptions {
  token?: string | null
  /** s: the n-th wait is random between 0 and min(backoffMax, backoff * 2^n). */
  backoff?: number
  backoffMax?: number
  /** s without a message, then a ping; after twice that the connection counts as dead. */
  idle?: number
}

export class RefusedError extends Error {
  readonly code: number
  readonly channel?: string
  readonly fatal: boolean
}

export interface Events {
  book: { book: Book; kind: 'snapshot' | 'delta'; message: BookMessage }
  arb: { arb: Arb; message: ArbMessage }
  connected: number
  /** retryIn null: closed for good. */
  disconnected: { reason: string; code: number; retryIn: number | null }
  reconnect: { reason: string; deadline_ms: number }
  refused: RefusedError
  heartbeat: { channel: string; ts: number }
  status: { type: 'snapshot' | 'status'; channel: 'status'; data: Record<string, unknown> }
  message: Record<string, unknown>
}

export interface ExchangeRow {
  id: string
  name: string
  quote: string
  symbols: number
  status: 'live' | 'down'
  depth: number
}

export class Client extends EventTarget {
  constructor(url: string, options?: ClientOptions)
  readonly url: string
  readonly connected: boolean
  readonly books: Map<string, Book>
  on<Name extends keyof Events>(name: Name, handler: (detail: Events[Name]) => void): () => void
  /** Rejects with RefusedError. */
  subscribe(channel: string, options?: SubscribeOptions): Promise<Book>
  subscribeArb(symbol: string, options?: ArbOptions): Promise<Arb>
  subscribeStatus(): Promise<void>
  unsubscribe(channel: string): Promise<void>
  whole(book: Book): Promise<Book>
  exchanges(): Promise<ExchangeRow[]>
  symbols(filters?: { quote?: string; exchange?: string }): Promise<{ symbol: string; exchanges: string[] }[]>
  close(): void
}
