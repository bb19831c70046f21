/// <reference types="node" />
/** Mantissas: value = mantissa / 10^exponent of the book or record. Quantity 0 in a record: the level left. */
export interface Level {
  price: bigint
  quantity: bigint
  orders: number
}

export type State = 'SYNCING' | 'LIVE' | 'STALE' | 'RESYNC' | 'DOWN'
export const STATES: readonly State[]

interface Moment {
  sequence: bigint
  epoch: number
  /** Only LIVE, of a living writer, is known to be right. */
  state: State
  reason: number
  priceExponent: number
  quantityExponent: number
  /** ns since the epoch */
  exchangeNs: bigint
  receiveNs: bigint
  publishedNs: bigint
  /** Best first in a book, as published in a record. */
  bids: Level[]
  asks: Level[]
}

export interface Book extends Moment {
  venueSequence: bigint
  /** Where `records()` goes on; skip records of the book whose sequence is not above its own. */
  ringPosition: bigint
}

export interface Record extends Moment {
  type: 'DELTA' | 'RESET' | 'STATE'
  book: number
}

export interface Ring extends Iterable<Record> {
  position: bigint
  next(): Record | null
}

export class ReadError extends Error {
  readonly code: 'busy' | 'gone' | 'overrun' | 'none'
}

export class Segment {
  constructor(path: string)
  close(): void
  readonly generation: bigint
  readonly symbols: string[]
  alive(): boolean
  replaced(): boolean
  top(symbol: string | number): Book
  book(symbol: string | number, depth?: number): Book
  records(position?: bigint): Ring
}
