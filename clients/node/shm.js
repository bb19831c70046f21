// Books of an exchange's shared memory, by docs/shared-memory.md, for a Node process on the box itself.
//
// Node's core cannot map a file. Reading it with pread(2) is the smallest sound way: segments lie on tmpfs, where
// pread copies out of the very pages the writer writes to, 1 to 3 µs a call, and nothing has to be compiled. The
// sequence lock holds as it does for a mapping: the kernel takes and drops a reference to the page at each read, both
// full barriers, so a version read after the data is younger than the data. Where a copy took the bytes of a version
// one by one, it can be wrong only while a carry runs through them, and then differs from the version read after it.
// A program that needs less than that wants the C or the Rust reader.
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'

const LAYOUT_VERSION = 1
const HEADER_BYTES = 4096
const SYMBOL_BYTES = 128
const BOOK_BYTES = 512
const CHUNK_BYTES = 640
const CHUNK_LEVELS = 32
const RECORD_BYTES = 80
const LEVEL_BYTES = 24
const SIDE = 320 // of bw_book.side, 32 bytes each
const PIECE = 8 // chunks copied under one look at the lock, halved where the writer is busy
const TRIES = 8
const PATIENCE_MS = 20
const LOOP_PATIENCE_MS = 2000

export const STATES = ['SYNCING', 'LIVE', 'STALE', 'RESYNC', 'DOWN']
const TYPES = ['PAD', 'DELTA', 'RESET', 'STATE']

/** `code`: busy (no untorn copy within 20 ms), gone (the writer died inside a write), overrun, none (no such book). */
export class ReadError extends Error {
  constructor(code, message) {
    super(message)
    this.name = 'ReadError'
    this.code = code
  }
}

const overrun = () => new ReadError('overrun', 'the writer was a whole ring ahead')

/** One exchange's segment, opened for reading. Prices and quantities are BigInt mantissas. */
export class Segment {
  #fd
  #path
  #identity
  #layout
  #word = Buffer.alloc(8)
  #header = Buffer.alloc(BOOK_BYTES)

  /** Throws where there is no sound segment, or one of another layout version. */
  constructor(path) {
    this.#path = path
    this.#fd = openSync(path, 'r')
    try {
      const file = fstatSync(this.#fd)
      this.#identity = `${file.dev}:${file.ino}`
      this.#layout = this.#check(file.size)
    } catch (wrong) {
      closeSync(this.#fd)
      throw wrong
    }
  }

  close() {
    closeSync(this.#fd)
  }

  #check(bytes) {
    const wrong = (what) => new Error(`${this.#path}: ${what}`)
    if (bytes < HEADER_BYTES) throw wrong('too short to be a segment')
    const header = this.#read(0, 256)
    if (header.toString('latin1', 0, 8) !== 'BOOKWIRE') throw wrong('not a Bookwire segment')
    if (header.readUInt32LE(8) !== LAYOUT_VERSION) throw wrong('made by another version of Bookwire')
    const u64 = (offset) => Number(header.readBigUInt64LE(offset))
    if (u64(16) !== bytes || header.readUInt32LE(12) !== HEADER_BYTES || header.readUInt32LE(64) !== CHUNK_LEVELS)
      throw wrong('damaged: unknown layout, or not as long as it says')
    const layout = {
      bytes,
      generation: header.readBigUInt64LE(24),
      books: header.readUInt32LE(56),
      chunks: header.readUInt32LE(60),
      symbolOffset: u64(72),
      bookOffset: u64(80),
      chunkOffset: u64(96),
      ringOffset: u64(104),
      ringBytes: u64(112)
    }
    const fits = (offset, count, size) => offset % 64 === 0 && offset <= bytes && count <= (bytes - offset) / size
    if (
      !fits(layout.symbolOffset, layout.books, SYMBOL_BYTES) ||
      !fits(layout.bookOffset, layout.books, BOOK_BYTES) ||
      !fits(layout.chunkOffset, layout.chunks, CHUNK_BYTES) ||
      !fits(layout.ringOffset, layout.ringBytes, 1)
    )
      throw wrong('damaged: parts lie outside of it')
    return layout
  }

  #read(offset, bytes, into = Buffer.allocUnsafe(bytes)) {
    if (readSync(this.#fd, into, 0, bytes, offset) !== bytes) throw new Error(`${this.#path}: shorter than it was`)
    return into
  }

  #u64(offset) {
    return this.#read(offset, 8, this.#word).readBigUInt64LE(0)
  }

  /** Names the writer: another value is another writer. */
  get generation() {
    return this.#layout.generation
  }

  /** Canonical names by book index. Books are only ever added. */
  get symbols() {
    const count = Math.min(Number(this.#u64(136) >> 32n), this.#layout.books)
    const rows = this.#read(this.#layout.symbolOffset, count * SYMBOL_BYTES)
    const name = (row) => rows.toString('latin1', row * SYMBOL_BYTES, row * SYMBOL_BYTES + 32).replace(/\0+$/, '')
    return Array.from({ length: count }, (_, row) => name(row))
  }

  /**
   * False when the writer closed the segment or its loop has not turned for 2 s. Node cannot ask for the writer's
   * lock, so a killed writer shows by its heartbeat, not at once.
   */
  alive() {
    const state = Number(this.#u64(136) & 0xffffffffn)
    return state === 1 && Date.now() - Number(this.#u64(128) / 1_000_000n) <= LOOP_PATIENCE_MS
  }

  /** True when the path now names another segment: open that. */
  replaced() {
    const file = statSync(this.#path, { throwIfNoEntry: false })
    return file !== undefined && `${file.dev}:${file.ino}` !== this.#identity
  }

  #bookAt(symbol) {
    const index = typeof symbol === 'string' ? this.symbols.indexOf(symbol) : symbol
    if (!(index >= 0 && index < this.symbols.length)) throw new ReadError('none', `${this.#path}: no ${symbol}`)
    return [index, this.#layout.bookOffset + index * BOOK_BYTES]
  }

  /** Runs `read` until the writer was not inside meanwhile. Throws ReadError after 20 ms. */
  #locked(offset, deadline, read, busy = () => {}) {
    for (;;) {
      const version = this.#u64(offset)
      if (version % 2n === 0n) {
        const found = read()
        if (this.#u64(offset) === version) return found
        busy()
      }
      if (performance.now() > deadline)
        throw this.alive()
          ? new ReadError('busy', 'no untorn copy within the time allowed')
          : new ReadError('gone', 'the writer died inside a write')
    }
  }

  #headerOf(offset, deadline) {
    return this.#locked(offset, deadline, () => Buffer.from(this.#read(offset, BOOK_BYTES, this.#header)))
  }

  /** State, stamps and the best 4 levels a side, at one sequence. */
  top(symbol) {
    const [, offset] = this.#bookAt(symbol)
    const header = this.#headerOf(offset, performance.now() + PATIENCE_MS)
    const best = (side) => {
      const count = Math.min(header.readUInt32LE(40 + side * 4), 4)
      return Array.from({ length: count }, (_, at) => levelAt(header, 128 + side * 96 + at * LEVEL_BYTES))
    }
    return bookOf(header, best(0), best(1), this.#u64(192))
  }

  /** The whole book, or its best `depth` levels, at one sequence. Throws ReadError. */
  book(symbol, depth = Infinity) {
    const [index, offset] = this.#bookAt(symbol)
    const deadline = performance.now() + PATIENCE_MS
    for (let tries = 0; tries < TRIES; tries++) {
      try {
        return this.#copy(index, offset, depth, deadline)
      } catch (error) {
        if (error.code !== 'overrun') throw error // else start over
      }
    }
    throw new ReadError('busy', 'replaced or overtaken at each try')
  }

  /** One try, as "A whole book" of the documentation says. */
  #copy(index, offset, depth, deadline) {
    let position = this.#u64(192)
    const before = this.#headerOf(offset, deadline)
    const sides = [this.#walk(offset, 0, deadline), this.#walk(offset, 1, deadline)]
    const header = this.#headerOf(offset, deadline)
    if (header.readUInt32LE(24) !== before.readUInt32LE(24)) throw overrun() // replaced meanwhile
    const [from, to] = [before.readBigUInt64LE(8), header.readBigUInt64LE(8)]
    if (from !== to) position = this.#replay(index, from, to, position, sides, deadline)
    sides.forEach((levels, side) => {
      if (levels.size !== header.readUInt32LE(SIDE + side * 32 + 16)) throw overrun()
    })
    const [bids, asks] = sides.map((levels, side) => {
      const sign = side ? 1 : -1
      const rows = [...levels.values()].sort((a, b) => sign * (a.price < b.price ? -1 : a.price > b.price ? 1 : 0))
      return rows.slice(0, depth)
    })
    return bookOf(header, bids, asks, position)
  }

  /** Levels by price: every one that stands throughout, some that come or go meanwhile; from best to worst. */
  #walk(offset, side, deadline) {
    const levels = new Map()
    let [bound, piece] = [null, PIECE]
    for (;;) {
      const found = this.#locked(offset, deadline, () => this.#below(offset, side, bound, piece), () => {
        piece = Math.max(1, piece >> 1)
      })
      for (const level of found) levels.set(level.price, level)
      if (found.length === 0) return levels
      const price = found.at(-1).price
      bound = side ? -price : price
      piece = Math.min(PIECE, piece * 2)
    }
  }

  /** The levels below a key in the `room` best chunks that have some, best first. */
  #below(offset, side, bound, room) {
    const { bytes, chunks, chunkOffset } = this.#layout
    const about = this.#read(offset + SIDE + side * 32, 16)
    const [directory, entries] = [Number(about.readBigUInt64LE(0)), about.readUInt32LE(12)]
    if (directory > bytes || entries > (bytes - directory) / 16) return []
    const found = []
    const rows = this.#read(directory, entries * 16)
    for (let at = entries - 1; at >= 0 && room > 0; at--) {
      if (bound !== null && rows.readBigInt64LE(at * 16) >= bound) continue
      const [index, count] = [rows.readUInt32LE(at * 16 + 8), rows.readUInt32LE(at * 16 + 12)]
      if (index >= chunks || count > CHUNK_LEVELS) return found // half-written: the lock will tell
      const chunk = this.#read(chunkOffset + index * CHUNK_BYTES, CHUNK_BYTES)
      for (let place = count - 1; place >= 0; place--) {
        const key = chunk.readBigInt64LE(place * 8)
        if (bound !== null && key >= bound) continue
        const quantity = chunk.readBigInt64LE(256 + place * 8)
        found.push({ price: side ? -key : key, quantity, orders: chunk.readUInt32LE(512 + place * 4) })
      }
      room--
    }
    return found
  }

  /** Applies the book's records of sequences after `from` up to `to`; where the ring goes on. */
  #replay(index, from, to, position, sides, deadline) {
    const ring = this.records(position)
    for (;;) {
      const record = ring.next()
      if (record === null) {
        if (performance.now() > deadline) throw new ReadError('busy', 'the ring stayed behind the book')
        continue // the book is ahead of the ring for a moment
      }
      if (record.book !== index || record.sequence <= from) continue
      if (record.sequence > to || record.type === 'RESET') throw overrun()
      record.bids.forEach((level) => put(sides[0], level))
      record.asks.forEach((level) => put(sides[1], level))
      if (record.sequence === to) return ring.position
    }
  }

  /** The ring from `position` (of a book) or from now on. */
  records(position = this.#u64(192)) {
    const { ringOffset, ringBytes } = this.#layout
    return new Ring((offset, bytes) => this.#read(offset, bytes), ringOffset, ringBytes, position)
  }
}

/** What has come since a position. After an overrun it goes on at the head: copy the books anew. */
class Ring {
  #read
  #offset
  #bytes

  constructor(read, offset, bytes, position) {
    this.#read = read
    this.#offset = offset
    this.#bytes = bytes
    this.position = position
  }

  #overrun() {
    this.position = this.#read(192, 8).readBigUInt64LE(0)
    return overrun()
  }

  /** Has the writer claimed the place again that was just read? */
  #lapped() {
    return this.#read(200, 8).readBigUInt64LE(0) - this.position > BigInt(this.#bytes)
  }

  /** The next record, or null when there is none yet. Throws ReadError `overrun` when updates were lost. */
  next() {
    const head = this.#read(192, 8).readBigUInt64LE(0)
    while (this.position !== head) {
      const left = head - this.position
      if (left > BigInt(this.#bytes)) throw this.#overrun()
      const place = Number(this.position % BigInt(this.#bytes))
      const first = this.#read(this.#offset + place, 8)
      const [bytes, type] = [first.readUInt32LE(0), first[4]]
      if (bytes === 0 || bytes % 8 || bytes > left || bytes > this.#bytes - place || type >= TYPES.length)
        throw this.#overrun()
      const raw = type === 0 ? null : this.#read(this.#offset + place, bytes)
      if (this.#lapped() || (raw && !whole(raw))) throw this.#overrun()
      this.position += BigInt(bytes)
      if (raw) return recordOf(raw)
    }
    return null
  }

  *[Symbol.iterator]() {
    for (let record; (record = this.next()) !== null; ) yield record
  }
}

function whole(raw) {
  if (raw.length < RECORD_BYTES) return false
  return raw.length === RECORD_BYTES + (raw.readUInt32LE(64) + raw.readUInt32LE(68)) * LEVEL_BYTES
}

function put(levels, level) {
  if (level.quantity === 0n) levels.delete(level.price)
  else levels.set(level.price, level)
}

function levelAt(raw, offset) {
  const [price, quantity] = [raw.readBigInt64LE(offset), raw.readBigInt64LE(offset + 8)]
  return { price, quantity, orders: raw.readUInt32LE(offset + 16) }
}

function bookOf(header, bids, asks, ringPosition) {
  return {
    sequence: header.readBigUInt64LE(8),
    venueSequence: header.readBigUInt64LE(16),
    epoch: header.readUInt32LE(24),
    state: STATES[header.readUInt32LE(28)],
    reason: header.readUInt32LE(32),
    priceExponent: header[36],
    quantityExponent: header[37],
    exchangeNs: header.readBigInt64LE(64),
    receiveNs: header.readBigInt64LE(72),
    publishedNs: header.readBigInt64LE(88),
    bids,
    asks,
    ringPosition
  }
}

function recordOf(raw) {
  const bidCount = raw.readUInt32LE(64)
  const changes = (from, count) =>
    Array.from({ length: count }, (_, at) => levelAt(raw, RECORD_BYTES + (from + at) * LEVEL_BYTES))
  return {
    type: TYPES[raw[4]],
    priceExponent: raw[6],
    quantityExponent: raw[7],
    book: raw.readUInt32LE(8),
    epoch: raw.readUInt32LE(12),
    sequence: raw.readBigUInt64LE(16),
    exchangeNs: raw.readBigInt64LE(32),
    receiveNs: raw.readBigInt64LE(40),
    publishedNs: raw.readBigInt64LE(56),
    state: STATES[raw.readUInt32LE(72)],
    reason: raw.readUInt32LE(76),
    bids: changes(0, bidCount),
    asks: changes(bidCount, raw.readUInt32LE(68))
  }
}
