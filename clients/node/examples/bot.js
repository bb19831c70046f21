// A paper-trading bot: follows the weight of the top five levels of one book. bot.js [SECONDS] [CHANNEL]
// It acts on a fresh book only, pays the spread and the fee, and walks the depth for its price. Not advice.
import { start } from './start.js'

const [, , seconds, channel = 'binance:BTC-USDT'] = process.argv
const SIZE = 0.01 // base units
const FEE_BPS = 10
const TILT = 0.65 // share of one side that makes us act

const weight = (levels) => levels.slice(0, 5).reduce((sum, level) => sum + level.quantity, 0)

let position = 0
let cash = 0
const client = start(seconds)

client.on('book', ({ book }) => {
  if (!book.fresh()) return // resyncing, down or cut off: hands off
  const tilt = weight(book.bids) / (weight(book.bids) + weight(book.asks))
  const sign = tilt > TILT && position <= 0 ? 1 : tilt < 1 - TILT && position >= 0 ? -1 : 0
  if (!sign) return
  const price = book.averagePrice(sign > 0 ? 'buy' : 'sell', SIZE)
  if (price === null) return // not so much on offer within the depth
  position += sign * SIZE
  cash -= sign * SIZE * price + (SIZE * price * FEE_BPS) / 10_000
  const worth = cash + position * book.mid
  console.log(
    `${sign > 0 ? 'buy' : 'sell'} ${SIZE} at ${price.toFixed(2)}: tilt ${tilt.toFixed(2)}, ` +
      `position ${position.toFixed(2)}, ${worth.toFixed(2)}`
  )
})
await client.subscribe(channel, { depth: 20, interval: 0, heartbeat: 1 })
