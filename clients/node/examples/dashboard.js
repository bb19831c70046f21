// A price dashboard in the terminal: the best bid and offer of every symbol over all exchanges. dashboard.js [SECONDS]
import { start } from './start.js'

const [, , seconds] = process.argv

function line(book) {
  const symbol = book.channel.slice('top:'.length).padEnd(12)
  if (!book.fresh()) return `${symbol} not live`
  const [bid, ask] = [book.bids[0], book.asks[0]]
  const cells = [bid.quantity, bid.price, ask.price, ask.quantity].map((value) => value.toFixed(4).padStart(12))
  return `${symbol} ${cells.join(' ')} ${book.spreadBps.toFixed(2).padStart(7)} bp ${book.age.toFixed(1)} s old`
}

const client = start(seconds)
const symbols = (await client.symbols()).slice(0, 40)
const books = await Promise.all(symbols.map((row) => client.subscribe(`top:${row.symbol}`, { heartbeat: 1 })))
setInterval(() => {
  if (process.stdout.isTTY) process.stdout.write('\x1b[H\x1b[2J')
  console.log(`${client.url} ${client.connected ? 'connected' : 'RECONNECTING'}, ${books.length} symbols`)
  console.log(books.map(line).join('\n'))
}, 500)
