// Arbitrage in 30 lines: newest values, fees, nothing stale. arbitrage_30.js [SECONDS] [SYMBOL] [PROFIT]
import { start } from './start.js'

const [, , seconds, symbol = 'BTC-USDT', threshold = 10] = process.argv
const CAPITAL = 10_000 // most that a trade may cost, in the quote asset

const client = start(seconds)
// The box walks every pair of LIVE books through the depth, with the taker fees of its [arb.fees].
const arb = await client.subscribeArb(symbol, { min_bp: 0, capital: CAPITAL })

setInterval(() => {
  const rows = arb.rows(2) // none while nothing is heard, none with an old quote
  for (const { buy, sell, size, profit, net_bp, age_ms } of rows) {
    if (profit <= threshold) continue
    const trade = `buy ${size} at ${buy.exchange} for ${buy.vwap}, sell at ${sell.exchange} for ${sell.vwap}`
    console.log(`${trade}: ${profit.toFixed(2)}, ${net_bp} bp, ${age_ms} ms old`)
  }
  process.stdout.write(`${rows.length} pairs cross, ${arb.fresh(2) ? 'heard' : 'not heard'}\r`)
}, 100) // the rows move on by themselves: look at the newest, never at a queue
