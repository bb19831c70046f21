// Writes a study's raw material as CSV: research.js [SECONDS] [FILE] [SYMBOL]
// One row for each update of each exchange, exact decimals, with the exchange's and the box's stamps; a row with
// empty prices where a book was not live, so that no gap looks like a quiet market.
import { openSync, writeSync } from 'node:fs'
import { start } from './start.js'

const [, , seconds, path = 'study.csv', symbol = 'BTC-USDT'] = process.argv
const file = openSync(path, 'w')
writeSync(file, 'channel,seq,exch_ms,recv_us,bid,bid_qty,ask,ask_qty\n')

const client = start(seconds)
client.on('book', ({ book, message: { data } }) => {
  const row = [book.channel, data.seq, data.exch_ts, Math.floor(data.recv_ns / 1000)] // ns do not fit a number
  if (book.live) {
    const [bid, ask] = [book.bids[0].exact, book.asks[0].exact]
    row.push(bid.price, bid.quantity, ask.price, ask.quantity)
  }
  writeSync(file, row.join() + '\n')
})
const { exchanges } = (await client.symbols()).find((row) => row.symbol === symbol)
for (const name of exchanges) await client.subscribe(`${name}:${symbol}`, { depth: 50, exact: true, interval: 0 })
