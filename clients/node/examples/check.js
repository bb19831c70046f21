// Proves a box and this client: deltas must give the gateway's own snapshot of the same moment.
// check.js [SECONDS] [CHANNEL ...]: one connection keeps books by deltas, another is sent whole snapshots. Each second
// a line of JSON: what was compared, what differed, how many books are live, what broke on the way.
import { start } from './start.js'

const [, , seconds, ...given] = process.argv
const channels = given.length ? given : ['top', 'consbook', 'fullbook', 'binance'].map((kind) => `${kind}:BTC-USDT`)
const KEPT = 5000 // moments that wait for the other connection
const counts = { compared: 0, different: 0, deltas: 0, emptied: 0, notices: 0, disconnects: 0 }
const kept = new Map() // book by moment: kept by deltas
const sent = new Map() // sent whole

/** Compares the two books of a moment as soon as both are there. */
function meet(mine, other, moment, book) {
  mine.set(moment, book)
  if (other.has(moment)) {
    counts.compared++
    if (other.get(moment) !== book) counts.different++
  }
  if (mine.size > KEPT) mine.delete(mine.keys().next().value)
}

const text = (bids, asks) => [bids, asks].map((rows) => rows.map((row) => row.join()).join(';')).join('|')
const row = ({ exact, orders, exchange }) => [exact.price, exact.quantity, orders, ...(exchange ? [exchange] : [])]

const client = start(seconds)
const other = start(seconds)
client.on('disconnected', () => counts.disconnects++)
client.on('reconnect', () => counts.notices++)
client.on('book', ({ book, kind, message: { data } }) => {
  if (kind === 'delta') counts.deltas++
  else if (!data.bids.length) counts.emptied++
  if (book.whole)
    meet(kept, sent, `${book.channel} ${data.seq} ${data.pub_ns}`, text(book.bids.map(row), book.asks.map(row)))
})
other.on('book', ({ book, message: { data } }) =>
  meet(sent, kept, `${book.channel} ${data.seq} ${data.pub_ns}`, text(data.bids, data.asks))
)
for (const channel of channels) {
  await client.subscribe(channel, { depth: 50, exact: true, interval: 0 })
  await other.subscribe(channel, { depth: 50, exact: true, interval: 100, mode: 'snapshot' })
}
setInterval(() => {
  const books = [...client.books.values()]
  const live = books.filter((book) => book.live).length
  console.log(JSON.stringify({ ...counts, live, books: books.length }))
}, 1000)
