// A book as snapshots and deltas leave it. No I/O: Client feeds it, tests and replays may as well.

// Position is the exchange's number, which orders equal levels of a fullbook.
export const EXCHANGES = [
  'binance', 'coinbase', 'okx', 'bybit', 'kraken', 'gemini', 'cryptocom', 'gateio', 'kucoin', 'upbit', 'bitget',
  'mexc', 'htx', 'bitfinex', 'bingx', 'phemex', 'lbank', 'bitmart', 'coinex', 'ascendex', 'deribit'
]
const NUMBER = new Map(EXCHANGES.map((name, number) => [name, number]))

const now = () => performance.now() / 1000

/** Levels by key: the price, in a fullbook price and exchange. Sorted when looked at. */
class Side {
  #levels = new Map()
  #sorted = []
  #sign

  constructor(sign) {
    this.#sign = sign
  }

  clear() {
    this.#levels.clear()
    this.#sorted = []
  }

  apply(rows) {
    for (const [price, quantity, orders, exchange = ''] of rows) {
      const key = exchange ? `${price} ${exchange}` : `${price}`
      if (Number(quantity) === 0) this.#levels.delete(key)
      else {
        const level = { price: Number(price), quantity: Number(quantity), orders, exchange }
        if (typeof price === 'string') level.exact = { price, quantity }
        this.#levels.set(key, level)
      }
      this.#sorted = null
    }
  }

  levels() {
    this.#sorted ??= [...this.#levels.values()].sort(
      (a, b) =>
        this.#sign * (a.price - b.price) ||
        b.quantity - a.quantity ||
        (NUMBER.get(a.exchange) ?? NUMBER.size) - (NUMBER.get(b.exchange) ?? NUMBER.size)
    )
    return this.#sorted
  }
}

/**
 * One channel's book. `live` is false until a whole snapshot is there, while disconnected, and while the
 * gateway shows the book empty because it is not known to be right. Figures are null where a side they need is
 * empty or too thin.
 */
export class Book {
  #bids = new Side(-1)
  #asks = new Side(1)

  constructor(channel) {
    this.channel = channel
    this.connected = false // the client says so
    this.whole = false // every page of the last snapshot has come
    this.ts = 0 // ms since the epoch: the box received the newest update in here
    this.seq = -1 // of the last message; -1 without stamps
    this.pubNs = 0
    this.state = '' // single exchanges with stamps
    this.snapshots = 0
    this.deltas = 0
    this.conflated = 0 // updates that were merged because we read too slowly
    this.updated = this.heard = -Infinity // s, monotonic: last message; that or a heartbeat
  }

  /** Takes a `snapshot` or `delta` message of the gateway. */
  apply(message) {
    const { data } = message
    const snapshot = message.type === 'snapshot'
    if (snapshot) {
      this.#bids.clear()
      this.#asks.clear()
      this.snapshots++
    } else this.deltas++
    this.#bids.apply(data.bids)
    this.#asks.apply(data.asks)
    if (snapshot || !this.whole) this.whole = !message.more // pages: a snapshot, then deltas, the last without `more`
    this.conflated += message.conflated ?? 0
    this.ts = data.ts
    this.seq = data.seq ?? -1
    this.pubNs = data.pub_ns ?? 0
    this.state = data.state ?? ''
    this.updated = this.heard = now()
  }

  /** A heartbeat came: the channel is quiet, not dead. */
  beat() {
    this.heard = now()
  }

  get live() {
    return this.connected && this.whole && this.bids.length > 0 && this.asks.length > 0
  }

  /** Live, and heard of within so many seconds: fit to act on. Subscribe with `heartbeat: 1` for it. */
  fresh(within = 3) {
    return this.live && now() - this.heard <= within
  }

  /** Seconds since its last message reached us; a quiet book may be old and right. */
  get age() {
    return now() - this.updated
  }

  /** Best first. */
  get bids() {
    return this.#bids.levels()
  }

  /** Best first. In a fullbook, equal prices: larger quantity first, then exchange number. */
  get asks() {
    return this.#asks.levels()
  }

  get mid() {
    const [bid, ask] = [this.bids[0], this.asks[0]]
    return bid && ask ? (bid.price + ask.price) / 2 : null
  }

  /** Negative where exchanges cross each other. */
  get spread() {
    const [bid, ask] = [this.bids[0], this.asks[0]]
    return bid && ask ? ask.price - bid.price : null
  }

  /** Spread in basis points of the mid. */
  get spreadBps() {
    const { mid, spread } = this
    return mid === null ? null : (spread / mid) * 10_000
  }

  /** The sum of a side's quantities, as deep as subscribed. `side`: bids or asks. */
  quantity(side) {
    return this[side].reduce((total, level) => total + level.quantity, 0)
  }

  /** What `size` base units cost on average a unit, before fees; null when the depth is too thin. */
  averagePrice(action, size) {
    let left = size
    let cost = 0
    for (const level of action === 'buy' ? this.asks : this.bids) {
      const taken = Math.min(left, level.quantity)
      cost += taken * level.price
      left -= taken
      if (left <= 0) return cost / size
    }
    return null
  }
}
