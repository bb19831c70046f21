// One connection that is always wanted: made, watched, made again, its subscriptions with it.
// Runs where there is a WebSocket: browsers, Node 22 and later, older Node with the package `ws`.
import { Arb } from './arb.js'
import { Book, EXCHANGES } from './book.js'

export { Arb, Book, EXCHANGES }

const STEADY_MS = 10_000 // a connection that held so long starts the backoff anew
const RETRIED = new Set([5, 22]) // unknown symbol, no room: both pass, for instance while a box starts

/** A request was answered with an error; codes are in docs/gateway.md. */
export class RefusedError extends Error {
  constructor({ msg, code, channel, fatal }) {
    super(`${msg} (code ${code}, ${channel ?? 'no channel'})`)
    Object.assign(this, { name: 'RefusedError', code, channel, fatal })
  }
}

async function webSocketClass() {
  if (globalThis.WebSocket) return globalThis.WebSocket
  try {
    return (await import('ws')).WebSocket
  } catch (missing) {
    throw new Error('this Node has no WebSocket: npm install ws, or use Node 22', { cause: missing })
  }
}

/**
 * Events: `book` (book, kind, message), `arb` (arb, message), `connected` (attempt), `disconnected` ({reason, code, retryIn}),
 * `reconnect` (message), `refused` (message), `heartbeat` (message), `status` (message), `message` (anything else).
 * Handlers run at once, inside the reading of the message: no queue grows behind a slow one.
 */
export class Client extends EventTarget {
  #url
  #options
  #socket = null
  #closed = false
  #subscriptions = new Map() // channel, as answered -> {request, book}
  #asked = new Map() // id -> {resolve, reject, request, subscription}
  #ids = 0
  #tries = 0
  #attempts = 0
  #timers = new Set()
  #pulse = null
  #heardAt = 0
  #openedAt = 0

  /** options: token, backoff and backoffMax (s), idle (s): so long without a message, then a ping, then dead. */
  constructor(url, { token = null, backoff = 0.25, backoffMax = 30, idle = 10 } = {}) {
    super()
    this.#url = url
    this.#options = { token, backoff, backoffMax, idle }
    this.connected = false
    this.#connect().catch((error) => this.#end(error))
  }

  get url() {
    return this.#url
  }

  get books() {
    const held = [...this.#subscriptions].filter(([, each]) => each.book instanceof Book)
    return new Map(held.map(([name, each]) => [name, each.book]))
  }

  /** Calls handler with the event's detail; returns the way to stop it. */
  on(name, handler) {
    const listener = (event) => handler(event.detail)
    this.addEventListener(name, listener)
    return () => this.removeEventListener(name, listener)
  }

  /**
   * Asks for a channel; its Book, which fills as messages come (`await client.whole(book)`). Options as in
   * docs/gateway.md; `exact: true` keeps the decimal digits in `level.exact`. Rejects with RefusedError.
   */
  async subscribe(channel, { exact = false, ...options } = {}) {
    const request = { op: 'subscribe', channel, mode: 'inc', stamps: true, numbers: exact ? 'string' : 'number', ...options }
    const subscription = { request, book: new Book(channel) }
    await this.#ask(request, subscription)
    return subscription.book
  }

  /**
   * What pays between two exchanges, both taker fees paid; its Arb. Options: depth, interval (ms), min_bp and capital
   * (else the box's own). Rejects with RefusedError.
   */
  async subscribeArb(symbol, options = {}) {
    const request = { op: 'subscribe', channel: `arb:${symbol}`, heartbeat: 1, ...options }
    const subscription = { request, book: new Arb(request.channel) }
    await this.#ask(request, subscription)
    return subscription.book
  }

  /** Exchanges and books going live, stale, resyncing or down: `status` events from now on. */
  async subscribeStatus() {
    const request = { op: 'subscribe', channel: 'status' }
    await this.#ask(request, { request, book: null })
  }

  async unsubscribe(channel) {
    const answer = await this.#ask({ op: 'unsubscribe', channel })
    const gone = this.#subscriptions.get(answer.channel)
    this.#subscriptions.delete(answer.channel)
    if (gone?.book) gone.book.connected = false
  }

  /** Resolves when the book's snapshot, with all its pages, is there. */
  whole(book) {
    return new Promise((resolve) => {
      if (book.whole && book.connected) return resolve(book)
      const stop = this.on('book', ({ book: changed }) => {
        if (changed !== book || !book.whole) return
        stop()
        resolve(book)
      })
    })
  }

  /** Rows of id, name, quote, symbols (live books), status, depth (ceiling). */
  async exchanges() {
    return (await this.#ask({ op: 'exchanges' })).data
  }

  /** Rows of symbol and exchanges; filters quote and exchange. */
  async symbols(filters = {}) {
    return (await this.#ask({ op: 'symbols', ...filters })).data
  }

  close() {
    this.#end(new Error('the client is closed'))
  }

  #end(error) {
    this.#closed = true
    for (const timer of this.#timers) clearTimeout(timer)
    const socket = this.#socket
    this.#lost(socket, { reason: error.message, code: 1000 })
    socket?.close(1000)
    for (const { reject } of this.#asked.values()) reject(error)
    this.#asked.clear()
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }))
  }

  #later(seconds, action) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      action()
    }, seconds * 1000)
    this.#timers.add(timer)
  }

  async #connect() {
    const attempt = ++this.#attempts
    const Socket = await webSocketClass()
    if (this.#closed) return
    const socket = new Socket(this.#url)
    this.#socket = socket
    this.#openedAt = 0
    let problem = ''
    socket.onopen = () => this.#opened(attempt)
    socket.onmessage = ({ data }) => this.#received(socket, data)
    socket.onerror = (event) => (problem = event.message ?? 'connection failed') // a close event follows
    socket.onclose = ({ code, reason }) =>
      this.#lost(socket, { reason: reason || problem || `closed with ${code}`, code: this.#openedAt ? code : 0 })
    this.#watch(socket)
  }

  #opened(attempt) {
    this.#openedAt = performance.now()
    this.connected = true
    if (this.#options.token !== null) this.#send({ op: 'auth', token: this.#options.token })
    for (const name of this.#subscriptions.keys()) this.#subscribeAgain(name)
    for (const [id, { request }] of this.#asked) if (!request.again) this.#send({ ...request, id })
    this.#tell('connected', attempt)
  }

  /** The connection ended, or we gave it up: no book is to be believed until there is another. */
  #lost(socket, { reason, code }) {
    if (socket !== this.#socket) return
    this.#socket = null
    clearInterval(this.#pulse)
    for (const { book } of this.#subscriptions.values()) if (book) book.connected = book.whole = false
    for (const [id, { request }] of this.#asked) if (request.again) this.#asked.delete(id)
    const steady = this.connected && performance.now() - this.#openedAt > STEADY_MS
    this.connected = false
    if (this.#closed) return this.#tell('disconnected', { reason, code, retryIn: null })
    this.#tries = steady ? 0 : this.#tries + 1
    const { backoff, backoffMax } = this.#options
    const retryIn = Math.random() * Math.min(backoffMax, backoff * 2 ** this.#tries)
    this.#later(retryIn, () => this.#connect().catch((error) => this.#end(error)))
    this.#tell('disconnected', { reason, code, retryIn })
  }

  /** Watches for silence: a ping after `idle`, the end after twice that. Also bounds the connecting. */
  #watch(socket) {
    const { idle } = this.#options
    this.#heardAt = performance.now()
    this.#pulse = setInterval(() => {
      const silent = (performance.now() - this.#heardAt) / 1000
      if (silent > 2 * idle) {
        this.#lost(socket, { reason: `nothing came for ${2 * idle} s`, code: 1006 })
        return socket.terminate ? socket.terminate() : socket.close()
      }
      if (silent > idle && this.connected) this.#send({ op: 'ping' })
    }, idle * 500)
  }

  #send(request) {
    this.#socket.send(JSON.stringify(request))
  }

  /** Sends now or as soon as there is a connection; again on the next one if this one ends first. */
  #ask(request, subscription = null) {
    if (this.#closed) return Promise.reject(new Error('the client is closed'))
    return new Promise((resolve, reject) => {
      const id = ++this.#ids
      this.#asked.set(id, { resolve, reject, request, subscription })
      if (this.connected) this.#send({ ...request, id })
    })
  }

  #subscribeAgain(name) {
    const subscription = this.#subscriptions.get(name)
    if (!this.connected || !subscription) return
    const id = ++this.#ids
    const reject = (error) => {
      this.#tell('refused', error)
      if (subscription.book) subscription.book.connected = false
      if (RETRIED.has(error.code)) this.#later(0.5 + Math.random(), () => this.#subscribeAgain(name))
    }
    this.#asked.set(id, { resolve() {}, reject, request: { again: true }, subscription })
    this.#send({ ...subscription.request, id })
  }

  #received(socket, text) {
    if (socket !== this.#socket) return
    this.#heardAt = performance.now()
    let message
    try {
      message = JSON.parse(text)
    } catch {
      this.#lost(socket, { reason: 'unreadable message', code: 1006 })
      return socket.close()
    }
    this.#take(message)
  }

  #take(message) {
    const book = this.#subscriptions.get(message.channel)?.book
    switch (message.type) {
      case 'snapshot':
      case 'delta':
        if (!book) return this.#tell(message.channel === 'status' ? 'status' : 'message', message)
        book.apply(message)
        if (book instanceof Arb) return this.#tell('arb', { arb: book, message })
        return this.#tell('book', { book, kind: message.type, message })
      case 'status':
        return this.#tell('status', message)
      case 'heartbeat':
        book?.beat()
        return this.#tell('heartbeat', message)
      case 'reconnect':
        return this.#tell('reconnect', message)
      default:
        return this.#answered(message)
    }
  }

  /** Hands an answer to who asked; a subscription stands before the message after it is read. */
  #answered(message) {
    const asked = this.#asked.get(message.id)
    if (!asked) {
      if (message.type === 'error') this.#tell('refused', new RefusedError(message))
      else if (message.type !== 'pong') this.#tell('message', message)
      return
    }
    this.#asked.delete(message.id)
    if (message.type === 'error') return asked.reject(new RefusedError(message))
    if (asked.subscription) {
      const { request, book } = asked.subscription
      request.channel = message.channel
      this.#subscriptions.set(message.channel, asked.subscription)
      if (book) Object.assign(book, { channel: message.channel, connected: true })
    }
    asked.resolve(message)
  }
}
