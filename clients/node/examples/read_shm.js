// A book of an exchange's shared memory, no socket between: read_shm.js SEGMENT SYMBOL [SECONDS]
// Copies the book, applies what comes by the ring, copies again, and so on; each book as a line of JSON (integer
// mantissas: value = mantissa / 10^exponent). A program of your own would keep the one kept by the ring.
import { setTimeout as sleep } from 'node:timers/promises'
import { STATES, Segment } from 'bookwire-client/shm'

const [, , path, symbol, seconds = 10] = process.argv
const segment = new Segment(path)
const index = segment.symbols.indexOf(symbol)
const end = Date.now() + seconds * 1000

function show(how, { sequence, state }, bids, asks) {
  const rows = (levels) => levels.map((level) => `[${level.price},${level.quantity},${level.orders}]`).join()
  const told = `"how":"${how}","sequence":${sequence},"state":${STATES.indexOf(state)}`
  process.stdout.write(`{${told},"bids":[${rows(bids)}],"asks":[${rows(asks)}]}\n`)
}

function apply(side, changes) {
  for (const level of changes) {
    if (level.quantity) side.set(level.price, level)
    else side.delete(level.price)
  }
}

const byPrice = (side, sign) => [...side.values()].sort((a, b) => sign * Number(a.price - b.price))

while (Date.now() < end && segment.alive()) {
  try {
    const book = segment.book(index)
    show('copy', book, book.bids, book.asks)
    const [bids, asks] = [book.bids, book.asks].map((levels) => new Map(levels.map((each) => [each.price, each])))
    let last = book
    await sleep(5) // a program in a hurry looks again at once
    for (const record of segment.records(book.ringPosition)) {
      if (record.book !== index || record.sequence <= last.sequence) continue
      if (record.type === 'RESET' || record.sequence !== last.sequence + 1n) break // copy anew
      apply(bids, record.bids)
      apply(asks, record.asks)
      last = record
    }
    show('ring', last, byPrice(bids, -1), byPrice(asks, 1))
  } catch (error) {
    if (error.code !== 'busy' && error.code !== 'overrun') throw error // these two pass: copy anew
  }
}
