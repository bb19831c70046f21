// The stream: one WebSocket that comes back by itself, and books kept from its snapshots and deltas.

const RETRY_FIRST_MS = 500, RETRY_LAST_MS = 15_000, SILENCE_MS = 6_000;

export const url = (() => {
  const port = document.querySelector("meta[name=websocket-port]").content;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.hostname}:${port}/`;
})();

// A book of one channel. Levels are [price, quantity, orders, exchange]; a fullbook has one a price and exchange.
export class Book {
  constructor() {
    this.version = 0; // rises with every change
    this.clear();
  }

  clear() {
    this.sides = { bids: new Map(), asks: new Map() };
    this.ts = 0;
    this.version += 1;
    this.state = "";
  }

  // It cannot be had, and why.
  refuse(why) {
    this.state = why;
    this.version += 1;
  }

  take(message) {
    if (message.type === "snapshot") for (const side of Object.values(this.sides)) side.clear();
    for (const name of ["bids", "asks"]) {
      const side = this.sides[name];
      for (const level of message.data[name]) {
        const key = level.length > 3 ? `${level[0]} ${level[3]}` : level[0];
        if (level[1] === 0) side.delete(key); else side.set(key, level);
      }
    }
    this.ts = message.data.ts;
    this.version += 1;
  }

  best(name) {
    let found;
    for (const level of this.sides[name].values()) {
      if (!found || (name === "bids" ? level[0] > found[0] : level[0] < found[0])) found = level;
    }
    return found;
  }

  // Best first; where several exchanges stand at a price, the larger quantity first.
  sorted(name) {
    const sign = name === "bids" ? -1 : 1;
    return [...this.sides[name].values()].sort((a, b) => sign * (a[0] - b[0]) || b[1] - a[1]);
  }
}

export class Stream {
  // onState(state, words): connecting, live, lost. onStatus(event): the status channel.
  constructor(onState, onStatus) {
    this.onState = onState;
    this.onStatus = onStatus;
    this.books = new Map(); // channel -> { book, request }
    this.retry = RETRY_FIRST_MS;
    this.quiet = false; // said to be silent
    this.connect();
    setInterval(() => this.watch(), 1000);
  }

  connect() {
    this.onState("connecting", "connecting");
    const socket = this.socket = new WebSocket(url);
    this.heard = performance.now();
    socket.onopen = () => {
      this.retry = RETRY_FIRST_MS;
      this.heard = performance.now();
      this.quiet = false;
      this.onState("live", "connected");
      socket.send(JSON.stringify({ op: "subscribe", channel: "status" }));
      for (const [channel, one] of this.books) this.ask(channel, one);
    };
    socket.onmessage = (event) => this.message(JSON.parse(event.data));
    socket.onclose = () => this.lose();
  }

  // Comes again later; whatever the old socket still has to say is not heard.
  lose() {
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    for (const { book } of this.books.values()) book.clear();
    const wait = this.retry * (0.5 + Math.random());
    this.retry = Math.min(RETRY_LAST_MS, this.retry * 2);
    this.onState("lost", `not connected; again in ${Math.ceil(wait / 1000)} s`);
    setTimeout(() => this.connect(), wait);
  }

  // A connection that says nothing, not even a pong, is given up, and so is one that is not made in time: the
  // peer of a half-open one would be waited for much longer.
  watch() {
    const silent = performance.now() - this.heard, state = this.socket.readyState;
    if (state > WebSocket.OPEN) return;
    if (silent > 2 * SILENCE_MS) return this.lose();
    if (state !== WebSocket.OPEN) return;
    if (silent > SILENCE_MS / 2) this.socket.send('{"op":"ping"}');
    if (silent <= SILENCE_MS) return;
    this.quiet = true;
    this.onState("lost", `nothing heard for ${Math.round(silent / 1000)} s`);
  }

  message(message) {
    this.heard = performance.now();
    if (this.quiet) {
      this.quiet = false;
      this.onState("live", "connected");
    }
    if (message.channel === "status" && message.data) this.onStatus(message);
    const one = this.books.get(message.channel);
    if (!one) return;
    if (message.type === "error") one.book.refuse(message.msg);
    else if (message.data) one.book.take(message);
  }

  ask(channel, one) {
    one.book.clear();
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(one.request));
  }

  // The book of a channel, kept until let go; one that is followed already stays as it is.
  follow(channel, depth) {
    const known = this.books.get(channel);
    if (known) return known.book;
    const one = { book: new Book(), request: { op: "subscribe", channel, depth, mode: "inc", interval: 100 } };
    this.books.set(channel, one);
    this.ask(channel, one);
    return one.book;
  }

  letGo(channel) {
    if (!this.books.delete(channel) || this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify({ op: "unsubscribe", channel }));
  }
}
