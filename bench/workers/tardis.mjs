// npm tardis-dev: its mapper and its OrderBook. Requests come as JSON lines, as for worker.py.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import tardis from 'tardis-dev'

const { normalizeBookChanges, OrderBook } = tardis
const exchanges = { binance: 'binance', okx: 'okex', bybit: 'bybit-spot' }
const unfit = {
  coinbase: "its mapper reads the Exchange feed, not Advanced Trade's l2_data",
  kraken: 'its mapper reads the v1 protocol only'
}

function readFrames(path) {
  const data = readFileSync(path)
  const frames = []
  for (let at = 0; at < data.length; ) {
    const size = data.readUInt32LE(at)
    frames.push(data.toString('utf8', at + 4, at + 4 + size))
    at += 4 + size
  }
  return frames
}

function contestant(venue, symbol, snapshot) {
  const mapper = normalizeBookChanges(exchanges[venue], new Date())
  const book = new OrderBook()
  // the mapper of bybit-spot subscribes depth 50, our frames are depth 200: canHandle is not asked there
  const asks = venue !== 'bybit'
  const apply = (message) => {
    const now = new Date()
    if (asks && !mapper.canHandle(message)) throw new Error(`${venue}: mapper refused a frame`)
    for (const change of mapper.map(message, now)) book.update(change)
  }
  const first = JSON.parse(snapshot)
  apply(venue === 'binance' ? { stream: `${symbol.toLowerCase()}@depthSnapshot`, data: first } : first)
  return { book, take: (text) => apply(JSON.parse(text)) }
}

function side(levels) {
  return Array.from(levels, (level) => [level.price, level.amount])
}

function measure({ venue, symbol, path, passes }) {
  if (unfit[venue]) return { unfit: unfit[venue] }
  const [snapshot, ...frames] = readFrames(path)
  let { book, take } = contestant(venue, symbol, snapshot)
  const spent = frames.map((frame) => {
    const started = process.hrtime.bigint()
    take(frame)
    return Number(process.hrtime.bigint() - started)
  })
  spent.sort((a, b) => a - b)
  const totals = []
  for (let pass = 0; pass < passes; pass++) {
    ;({ book, take } = contestant(venue, symbol, snapshot))
    const started = process.cpuUsage()
    for (const frame of frames) take(frame)
    const used = process.cpuUsage(started)
    totals.push((used.user + used.system) * 1000)
  }
  totals.sort((a, b) => a - b)
  return {
    cpu_ns: totals[totals.length >> 1],
    p50_ns: spent[spent.length >> 1],
    p99_ns: spent[Math.floor((spent.length * 99) / 100)],
    book: { bid: side(book.bids()), ask: side(book.asks()) }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(measure(JSON.parse(line))) + '\n')
}
