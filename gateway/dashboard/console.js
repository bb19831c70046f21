// "Try it": requests typed by hand, on a connection of their own, and every answer.

import { url } from "./stream.js";
import { make } from "./text.js";

const KEPT = 200;
const CHARACTERS = 2000;

export function console_(symbol) {
  const form = document.querySelector("#console"), request = document.querySelector("#request");
  const preset = document.querySelector("#preset"), answers = document.querySelector("#answers");
  document.querySelector("#url").textContent = url;
  const examples = [
    { op: "subscribe", channel: `fullbook:${symbol}`, depth: 5, mode: "inc" },
    { op: "subscribe", channel: `top:${symbol}`, interval: 1000 },
    { op: "subscribe", channel: `consbook:${symbol}`, depth: 10, numbers: "string", id: 1 },
    { action: "subscribe", exchange: "binance", symbol: symbol.replace("-", "/"), depth: 5 },
    { op: "unsubscribe", channel: `fullbook:${symbol}` },
    { op: "exchanges" }, { op: "symbols", quote: "USDT" }, { op: "list" }, { op: "ping" },
  ].map((one) => JSON.stringify(one));
  preset.replaceChildren(...examples.map((text) => make("option", "", text)));
  request.value = examples[0];
  preset.onchange = () => { request.value = preset.value; };

  let socket = null;
  const note = (kind, text) => {
    const follow = answers.scrollHeight - answers.scrollTop - answers.clientHeight < 30;
    const cut = text.length > CHARACTERS ? `${text.slice(0, CHARACTERS)} … ${text.length} characters` : text;
    answers.append(make("li", kind, cut));
    while (answers.children.length > KEPT) answers.firstChild.remove();
    if (follow) answers.scrollTop = answers.scrollHeight;
  };
  const send = (text) => {
    note("sent", `→ ${text}`);
    socket.send(text);
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    const text = request.value.trim();
    if (!text) return;
    if (socket?.readyState === WebSocket.OPEN) return send(text);
    socket = new WebSocket(url);
    socket.onopen = () => send(text);
    socket.onmessage = (message) => note("", message.data);
    socket.onclose = (end) => note("said", `closed: ${end.code} ${end.reason}`);
  };
  request.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  };
  document.querySelector("#stop").onclick = () => socket?.close(1000);
  document.querySelector("#clear").onclick = () => answers.replaceChildren();
}
