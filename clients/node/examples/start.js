// What all examples share: the gateway's address, the end after some seconds or Ctrl-C, every event but books told.
import { Client } from 'bookwire-client'

export function start(seconds) {
  const client = new Client(process.env.BOOKWIRE_URL ?? 'ws://127.0.0.1:8081/')
  client.on('disconnected', ({ reason, retryIn }) => retryIn !== null && console.error(`disconnected: ${reason}`))
  client.on('connected', (attempt) => attempt > 1 && console.error('connected again'))
  client.on('refused', (error) => console.error(error.message))
  const end = () => {
    client.close()
    process.exit(0)
  }
  process.on('SIGINT', end)
  if (seconds) setTimeout(end, Number(seconds) * 1000)
  return client
}
