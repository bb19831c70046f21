// The dashboard: what the user chose, and one drawing a frame of what changed.

import { Box } from "./box.js";
import { console_ } from "./console.js";
import { depthChart, joined, Ladder, Tops } from "./ladder.js";
import { Stream } from "./stream.js";
import { age, make, price, put, quantity, Rows } from "./text.js";

const $ = (selector) => document.querySelector(selector);
const KEPT = "bookwire.choice";
const CHART_LEVELS = 400, CHART_MS = 250;

const chosen = { symbol: "BTC-USDT", depth: 15, source: "", ...JSON.parse(localStorage.getItem(KEPT) ?? "{}") };
const tops = new Tops($("#top-rows")), ladder = new Ladder($("#bids"), $("#asks"));
const arbRows = new Rows($("#arb-rows"), 7);
let exchanges = [], numbers = new Map(), names = new Map(), link = "connecting", boxStale = "", dirty = true;
let book = null, deep = null; // in the ladder: one exchange's or the merged one with attribution; in the chart
const drawn = { book: -1, best: -1, deep: -1, box: -1 }; // versions that are on the screen; -1: draw anew
let charted = 0;
let offer = () => {}; // examples for another symbol
let carriers = new Map(); // symbol -> exchanges
const best = new Map(); // exchange -> its book of one level

const stream = new Stream(
  (state, words) => {
    link = state;
    put($("#link"), words).dataset.state = state;
    dirty = true;
  },
  () => box.soon(),
);

const box = new Box((told) => {
  exchanges = told;
  numbers = new Map(told.map((one) => [one.id, one.number]));
  names = new Map(told.map((one) => [one.id, one.name]));
  fillSources();
  dirty = true;
}, (words) => {
  boxStale = words;
  dirty = true;
});

// Follows the chosen books; several exchanges may share a price, so more levels are asked for than shown.
function follow() {
  for (const channel of [...stream.books.keys()]) stream.letGo(channel);
  best.clear();
  if (chosen.source) {
    book = deep = stream.follow(`${chosen.source}:${chosen.symbol}`, CHART_LEVELS);
  } else {
    book = stream.follow(`fullbook:${chosen.symbol}`, 4 * Number(chosen.depth));
    deep = stream.follow(`consbook:${chosen.symbol}`, CHART_LEVELS);
  }
  followTops();
  chartAnew();
  offer(chosen.symbol);
  localStorage.setItem(KEPT, JSON.stringify(chosen));
  for (const element of document.querySelectorAll("[data-symbol]")) put(element, chosen.symbol);
  dirty = true;
}

// The best level of every exchange that carries the symbol.
function followTops() {
  for (const id of carriers.get(chosen.symbol) ?? []) best.set(id, stream.follow(`${id}:${chosen.symbol}`, 1)); // or what follow() has
}

function fillSources() {
  const running = exchanges.filter((one) => one.total);
  for (const [select, first] of [[$("#source"), ["", "all exchanges"]], [$("#latency-of"), null]]) {
    const wanted = [...(first ? [first] : []), ...running.map((one) => [one.id, one.name])];
    if (select.options.length === wanted.length && [...select.options].every((option, at) => option.value === wanted[at][0])) continue;
    const kept = select === $("#source") ? chosen.source : select.value;
    select.replaceChildren(...wanted.map(([value, text]) => Object.assign(make("option", "", text), { value })));
    select.value = wanted.some(([value]) => value === kept) ? kept : wanted[0]?.[0] ?? "";
  }
}

async function listSymbols() {
  const answer = await fetch("/v1/symbols");
  const { data } = await answer.json();
  carriers = new Map(data.map(({ symbol, exchanges: ids }) => [symbol, ids]));
  followTops();
  $("#symbols").replaceChildren(...data.map(({ symbol }) => Object.assign(make("option"), { value: symbol })));
  if (data.length && !data.some(({ symbol }) => symbol === chosen.symbol)) choose("symbol", data[0].symbol);
}

function choose(what, value) {
  chosen[what] = value;
  $(`#${what}`).value = value;
  follow();
}

async function arbitrage() {
  try {
    const answer = await fetch("/v1/arb", { signal: AbortSignal.timeout(4000) });
    $("#arbitrage").hidden = answer.status === 404;
    if (!answer.ok) return;
    const { data } = await answer.json();
    $("#arb-none").hidden = data.length > 0;
    arbRows.fill(data.slice(0, 16), (one, cells) => {
      put(cells[0], one.symbol);
      put(cells[1], `${one.buy.exchange} ${price(one.buy.price)}`);
      put(cells[2], `${one.sell.exchange} ${price(one.sell.price)}`);
      put(cells[3], one.net_bp.toFixed(1));
      put(cells[4], `${one.profit.toFixed(2)} ${one.symbol.split("-").at(-1)}`);
      put(cells[5], age(one.age_ms));
      put(cells[6], quantity(one.size));
    });
  } catch { // the status line tells already when the box does not answer
    $("#arb-none").hidden = false;
    arbRows.fill([], () => {});
  }
}

// Each part only where what it shows has changed: most frames bring some exchanges' best prices, and nothing else.
function draw() {
  requestAnimationFrame(draw);
  charts();
  let version = 0;
  for (const one of best.values()) version += one.version;
  if (dirty || version !== drawn.best) tops.show(best, exchanges);
  drawn.best = version;
  if (dirty || book.version !== drawn.book) levels();
  drawn.book = book.version;
  dirty = false;
}

function levels() {
  const shown = ladder.show(book, Number(chosen.depth), numbers, names, chosen.source);
  const bid = shown.bids[0]?.[0], ask = shown.asks[0]?.[0];
  const spread = bid && ask ? `${bid} / ${ask}, ${((ask - bid) / (ask + bid) * 2e4).toFixed(2)} bp apart` : book.state || "no levels";
  put($("#spread"), bid > ask ? `${spread}: crossed, different exchanges` : spread);
  const old = link !== "live" ? "the stream is not connected" : boxStale;
  $("#stale").hidden = !old;
  put($("#stale span"), old);
  $("#books").classList.toggle("stale", Boolean(old));
}

// What need not move with every frame: the depth four times a second, the rest when the box has told something.
function charts() {
  const now = performance.now();
  if (box.told !== drawn.box) {
    drawn.box = box.told;
    box.heat($("#heat"), $("#heat-text"));
    box.latency($("#latency"), $("#latency-text"), $("#latency-of").value);
  } else if (deep.version !== drawn.deep && now - charted >= CHART_MS) {
    charted = now;
    drawn.deep = deep.version;
    depthChart($("#depth-chart"), joined(deep.sorted("bids"), CHART_LEVELS), joined(deep.sorted("asks"), CHART_LEVELS));
  }
}

function chartAnew() {
  drawn.box = drawn.deep = -1;
}

$("#symbol").value = chosen.symbol;
$("#depth").value = chosen.depth;
$("#symbol").onchange = (event) => choose("symbol", event.target.value.trim().toUpperCase().replace("/", "-"));
$("#depth").onchange = (event) => choose("depth", event.target.value);
$("#source").onchange = (event) => choose("source", event.target.value);
$("#latency-of").onchange = chartAnew;
$("#choice").onsubmit = (event) => event.preventDefault();
addEventListener("resize", chartAnew);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", chartAnew);

follow();
offer = console_(chosen.symbol);
listSymbols();
setInterval(listSymbols, 30_000);
arbitrage();
setInterval(arbitrage, 1000);
draw();
