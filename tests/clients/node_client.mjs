// A subscriber written with `ws`: applies deltas and says what book it has. Speaks as python_client.py
// does on its arguments and stdin, but asks for exact decimal strings and never pauses.
import { createInterface } from 'node:readline'
import WebSocket from 'ws'

const order = JSON.parse(process.argv[2])
const channels = new Map(
  order.channels.map((name) => [
    name,
    { acknowledged: 0, snapshot: 0, delta: 0, conflated: 0, seq: -1, bids: new Map(), asks: new Map(), at: new Map() }
  ])
)
const snapshots = []
const errors = []

function put(book, message) {
  for (const side of ['bids', 'asks']) {
    if (message.type === 'snapshot') book[side].clear()
    for (const row of message.data[side]) {
      const key = row.length > 3 ? `${row[0]}@${row[3]}` : row[0]
      if (Number(row[1]) === 0) book[side].delete(key)
      else book[side].set(key, row)
    }
  }
}

// seq alone is not enough: a restarted writer counts from the beginning again
function moment(message) {
  return `${message.data.seq}:${message.data.pub_ns}`
}

function text(book) {
  return ['bids', 'asks'].map((side) => [...book[side].values()].map((row) => row.join()).sort().join(';')).join('|')
}

function open(mode, take) {
  const socket = new WebSocket(order.url)
  socket.on('open', () => {
    for (const channel of order.channels) {
      const request = { op: 'subscribe', channel, depth: order.depth, mode, interval: 0, stamps: true }
      socket.send(JSON.stringify({ ...request, numbers: 'string' }))
    }
  })
  socket.on('message', (data) => take(JSON.parse(data.toString())))
  socket.on('close', (code) => fail(`the gateway closed the connection: ${code}`))
  socket.on('error', (error) => fail(error.message))
  return socket
}

function fail(why) {
  process.stderr.write(`${why}\n`)
  process.exit(1)
}

function takeDelta(message) {
  const channel = channels.get(message.channel)
  if (message.type === 'subscribed') channel.acknowledged++
  else if (message.type === 'snapshot' || message.type === 'delta') {
    put(channel, message)
    channel[message.type]++
    channel.conflated += message.conflated ?? 0
    channel.seq = message.data.seq
    channel.at.set(moment(message), text(channel))
  } else errors.push(JSON.stringify(message))
}

function takeSnapshot(message) {
  if (message.type !== 'snapshot') return
  const book = { bids: new Map(), asks: new Map() }
  put(book, message)
  snapshots.push([message.channel, moment(message), text(book)])
}

function rows(book, side) {
  const sign = side === 'bids' ? -1 : 1
  const ordered = [...book[side].values()].sort((a, b) => sign * (Number(a[0]) - Number(b[0])))
  return ordered.map((row) => row.map(String))
}

function state() {
  const compared = snapshots.filter(([name, when]) => channels.get(name).at.has(when))
  const different = compared.filter(([name, when, book]) => channels.get(name).at.get(when) !== book)
  const found = {}
  for (const [name, { at, ...rest }] of channels)
    found[name] = { ...rest, bids: rows(rest, 'bids'), asks: rows(rest, 'asks') }
  return { channels: found, errors, compared: compared.length, different: different.length }
}

const sockets = [open('inc', takeDelta), open('snapshot', takeSnapshot)]
for await (const _ of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(state()) + '\n')
}
for (const socket of sockets) socket.terminate()
process.exit(0)
