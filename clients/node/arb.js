// What pays between two exchanges now: the newest rows of an `arb:` channel. No I/O: Client feeds it.

const now = () => performance.now() / 1000

/** One `arb:` channel. Books that are not LIVE are in no row: the box leaves them out. */
export class Arb {
  #rows = []

  constructor(channel) {
    this.channel = channel
    this.connected = false // the client says so
    this.whole = false // rows have come since it is connected
    this.ts = 0 // ms since the epoch: when the box made them
    this.leftOut = 0 // rows beyond those the box sends
    this.snapshots = 0
    this.updated = this.heard = -Infinity // s, monotonic: last message; that or a heartbeat
  }

  /** Takes a `snapshot` of the channel: whole rows each time. */
  apply(message) {
    this.#rows = message.data
    this.whole = true
    this.ts = message.ts
    this.leftOut = message.left_out ?? 0
    this.snapshots++
    this.updated = this.heard = now()
  }

  /** A heartbeat came: the channel is quiet, not dead. */
  beat() {
    this.heard = now()
  }

  /** Connected, and heard of within so many seconds; the client asks for a heartbeat each second. */
  fresh(within = 3) {
    return this.connected && this.whole && now() - this.heard <= within
  }

  /**
   * Most profit first, as the box sends them, `age_ms` as of now. Left out: rows with a quote older than `maxAge`
   * seconds, and all of them while the channel is not `fresh(maxAge)`.
   */
  rows(maxAge = 3) {
    if (!this.fresh(maxAge)) return []
    const since = Math.round((now() - this.updated) * 1000)
    return this.#rows.map((row) => ({ ...row, age_ms: row.age_ms + since })).filter((row) => row.age_ms <= maxAge * 1000)
  }
}
