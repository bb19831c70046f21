// "Try it": requests typed by hand, on a connection of their own, and every answer.

import { url } from "./stream.js";
import { make } from "./text.js";

const KEPT = 200;
const CHARACTERS = 2000;

const examples = (symbol) => [
  { op: "subscribe", channel: `fullbook:${symbol}`, depth: 5, mode: "inc" },
  { op: "subscribe", channel: `top:${symbol}`, interval: 1000 },
  { op: "subscribe", channel: `consbook:${symbol}`, depth: 10, numbers: "string", id: 1 },
  { op: "subscribe", channel: `arb:${symbol}`, min_bp: 0, interval: 1000 },
  { op: "subscribe", channel: "status" },
  { action: "subscribe", exchange: "binance", symbol: symbol.replace("-", "/"), depth: 5 },
  { op: "unsubscribe", channel: `fullbook:${symbol}` },
  { op: "exchanges" }, { op: "symbols", quote: "USDT" }, { op: "list" }, { op: "ping" },
].map((one) => JSON.stringify(one));

// The lines of what was sent and came; written once a frame, however much comes.
class Answers {
  constructor(list) {
    this.list = list;
    this.waiting = [];
  }

  note(kind, text) {
    if (this.waiting.push([kind, text]) === 1) requestAnimationFrame(() => this.write());
    if (this.waiting.length > 2 * KEPT) this.waiting = this.waiting.slice(-KEPT);
  }

  write() {
    const { list } = this, follow = list.scrollHeight - list.scrollTop - list.clientHeight < 30;
    list.append(...this.waiting.slice(-KEPT).map(([kind, text]) => {
      const cut = text.length > CHARACTERS ? `${text.slice(0, CHARACTERS)} … ${text.length} characters` : text;
      return make("li", kind, cut);
    }));
    this.waiting = [];
    while (list.children.length > KEPT) list.firstChild.remove();
    if (follow) list.scrollTop = list.scrollHeight;
  }

  clear() {
    this.waiting = [];
    this.list.replaceChildren();
  }
}

// Returns what is to be told when another symbol was chosen.
export function console_(symbol) {
  const form = document.querySelector("#console"), request = document.querySelector("#request");
  const preset = document.querySelector("#preset"), answers = new Answers(document.querySelector("#answers"));
  document.querySelector("#url").textContent = url;

  const offer = (wanted) => {
    const untouched = !request.value || [...preset.options].some((option) => option.value === request.value);
    const at = Math.max(0, preset.selectedIndex), texts = examples(wanted);
    preset.replaceChildren(...texts.map((text) => make("option", "", text)));
    preset.selectedIndex = at;
    if (untouched) request.value = texts[at];
  };
  preset.onchange = () => { request.value = preset.value; };
  offer(symbol);

  let socket = null, unsent = [];
  const send = (text) => {
    answers.note("sent", `→ ${text}`);
    socket.send(text);
  };
  const connect = () => {
    const made = socket = new WebSocket(url);
    made.onopen = () => unsent.splice(0).forEach(send);
    made.onmessage = (message) => answers.note("", message.data);
    made.onclose = (end) => {
      const lost = unsent.splice(0).length ? "; not sent" : "";
      answers.note("said", `closed: ${end.code} ${end.reason}${lost}`);
    };
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    const text = request.value.trim();
    if (!text) return;
    if (socket?.readyState === WebSocket.OPEN) return send(text);
    unsent.push(text);
    if (socket?.readyState !== WebSocket.CONNECTING) connect();
  };
  request.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  };
  document.querySelector("#stop").onclick = () => socket?.close(1000);
  document.querySelector("#clear").onclick = () => answers.clear();
  return offer;
}
