// Every ordered pair of exchanges for every symbol, through the depth, after both taker fees.
// arbitrage_scanner.js [SECONDS] [CAPITAL]: each second the best pairs, in basis points of CAPITAL (10000).
import { start } from './start.js'

const [, , seconds, capital = 10_000] = process.argv
const TAKER_BPS = { binance: 10, bybit: 10, okx: 20 } // put in those of your own tier
const OTHERS_BPS = 30

const fee = (book) => (TAKER_BPS[book.channel.split(':')[0]] ?? OTHERS_BPS) / 10_000

/** What is left of the capital after buying here, selling there and both fees, in basis points; or null. */
function netBps(buy, sell) {
  if (!buy.fresh() || !sell.fresh()) return null
  const size = capital / buy.asks[0].price
  const [paid, got] = [buy.averagePrice('buy', size), sell.averagePrice('sell', size)]
  if (paid === null || got === null) return null // not so much in the book
  return ((got * (1 - fee(sell))) / (paid * (1 + fee(buy))) - 1) * 10_000
}

const client = start(seconds)
const markets = []
for (const { symbol, exchanges } of await client.symbols({ quote: 'USDT' })) {
  const books = exchanges.map((name) => client.subscribe(`${name}:${symbol}`, { depth: 100, heartbeat: 1 }))
  markets.push(await Promise.all(books))
}
setInterval(() => {
  const found = []
  for (const books of markets)
    for (const buy of books)
      for (const sell of books) {
        const net = buy === sell ? null : netBps(buy, sell)
        if (net !== null) found.push({ net, buy: buy.channel, sell: sell.channel })
      }
  const fresh = markets.flat().filter((book) => book.fresh()).length
  console.log(`${fresh} fresh books, ${found.length} pairs`)
  for (const { net, buy, sell } of found.sort((a, b) => b.net - a.net).slice(0, 5)) {
    const gain = (net / 10_000) * capital
    console.log(`  buy ${buy.padEnd(20)} sell ${sell.padEnd(20)} net ${net.toFixed(2)} bps ${gain.toFixed(2)}`)
  }
}, 1000)
