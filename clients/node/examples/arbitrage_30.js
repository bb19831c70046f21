// Arbitrage in 30 lines: newest values, both fees, nothing stale. arbitrage_30.js [SECONDS] [SYMBOL]
import { start } from './start.js'

const [, , seconds, symbol = 'BTC-USDT'] = process.argv
const TAKER = { binance: 0.001, bybit: 0.001, okx: 0.002 } // your own tier's; others 0.003
const THRESHOLD = 10 // quote units of profit
const fee = (name) => TAKER[name] ?? 0.003

const client = start(seconds)
const names = (await client.symbols()).find((row) => row.symbol === symbol).exchanges
const books = new Map()
for (const name of names) books.set(name, await client.subscribe(`${name}:${symbol}`, { interval: 0, heartbeat: 1 }))

setInterval(() => {
  const fresh = names.filter((name) => books.get(name).fresh(2)) // else it is not there at all
  for (const buy of fresh) {
    for (const sell of fresh) {
      const [ask, bid] = [books.get(buy).asks[0], books.get(sell).bids[0]]
      const size = Math.min(ask.quantity, bid.quantity)
      const paid = ask.price * (1 + fee(buy))
      const got = bid.price * (1 - fee(sell))
      const profit = size * (got - paid)
      if (profit > THRESHOLD) console.log(`buy ${size} at ${buy} for ${paid}, sell at ${sell} for ${got}: ${profit}`)
    }
  }
  process.stdout.write(`${fresh.length} of ${names.length} books fresh\r`)
}, 100) // the books move on by themselves: look at the newest, never at a queue
