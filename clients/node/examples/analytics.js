// An analytics dashboard: how each exchange quotes a symbol. analytics.js [SECONDS] [SYMBOL]
// Each second, over what was seen so far: share of time live, mean spread, what a market order of 50,000 quote
// units costs against the mid, and each exchange's share of the depth within 10 basis points.
import { start } from './start.js'

const [, , seconds, symbol = 'BTC-USDT'] = process.argv
const ORDER = 50_000
const WITHIN = 10 / 10_000

class Figures {
  looks = 0
  live = 0
  spreadBps = 0 // sums over live looks
  costBps = 0
  near = 0

  look(book) {
    this.looks++
    if (!book.fresh()) return
    const { mid } = book
    this.live++
    this.spreadBps += book.spreadBps
    this.costBps += ((book.averagePrice('buy', ORDER / mid) ?? NaN) / mid - 1) * 10_000 // NaN: deeper than we look
    for (const level of [...book.bids, ...book.asks])
      if (Math.abs(level.price - mid) <= mid * WITHIN) this.near += level.quantity
  }
}

const client = start(seconds)
const names = (await client.symbols()).find((row) => row.symbol === symbol).exchanges
const figures = new Map()
for (const name of names)
  figures.set(await client.subscribe(`${name}:${symbol}`, { depth: 500, heartbeat: 1 }), new Figures())

setInterval(() => figures.forEach((each, book) => each.look(book)), 100)
setInterval(() => {
  const near = [...figures.values()].reduce((sum, each) => sum + each.near, 0) || 1
  console.log(`${symbol.padEnd(12)} live %  spread bp  cost bp  depth share %`)
  for (const [book, each] of figures) {
    const live = each.live || 1
    const shares = [(100 * each.live) / each.looks, each.spreadBps / live, each.costBps / live, (100 * each.near) / near]
    console.log(book.channel.split(':')[0].padEnd(12), ...shares.map((value) => value.toFixed(3).padStart(9)))
  }
}, 1000)
