// The box: states, ages, rates and latency of each exchange, from /v1/status once a second and when one changed.

import { age, brush, colour, ink, make, put, rate, Rows } from "./text.js";
import { label } from "./ladder.js";

const HISTORY_S = 60;
const SLOW_MS = 4000;
const LINE_PX = 18;
const SECOND_MS = 1000, SOON_MS = 50;
const FRESH_MS = 60_000; // so long an interruption is shown in colour

export class Box {
  // onData(exchanges) after each answer; onStale(words or "") when answers do not come.
  constructor(onData, onStale) {
    this.onData = onData;
    this.onStale = onStale;
    this.before = new Map();
    this.history = new Map(); // exchange -> updates a second, newest last
    this.rows = new Rows(document.querySelector("#exchange-rows"), 8, (cells) => cells[1].append(make("span", "state")));
    this.exchanges = [];
    this.told = 0; // answers
    this.asking = false;
    this.poll();
  }

  // Asks now instead of within a second: something changed.
  soon() {
    if (this.asking) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.poll(), SOON_MS);
  }

  async poll() {
    const asked = performance.now();
    this.asking = true;
    try {
      const answer = await fetch("/v1/status", { signal: AbortSignal.timeout(SLOW_MS) });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      this.take(await answer.json());
      this.onStale("");
    } catch (error) {
      this.onStale(`/v1/status: ${error.message}`);
    }
    this.asking = false;
    this.timer = setTimeout(() => this.poll(), Math.max(SOON_MS, SECOND_MS - (performance.now() - asked)));
  }

  take(told) {
    const now = performance.now(), whole = now - (this.counted ?? 0) > 0.8 * SECOND_MS;
    if (whole) this.counted = now;
    for (const one of told.exchanges) {
      const last = this.before.get(one.id);
      one.rate = last?.rate ?? 0;
      if (!whole) continue; // asked in between: too short to count anything
      const again = last && one.updates >= last.updates;
      one.rate = again ? (one.updates - last.updates) / (now - last.at) * 1000 : 0;
      this.before.set(one.id, { updates: one.updates, at: now, rate: one.rate });
      const past = this.history.get(one.id) ?? [];
      past.push(one.rate);
      if (past.length > HISTORY_S) past.shift();
      this.history.set(one.id, past);
    }
    this.exchanges = told.exchanges;
    this.told += 1;
    this.show();
    this.onData(told.exchanges);
  }

  show() {
    const running = this.exchanges.filter((one) => one.total), sum = (of) => running.reduce((all, one) => all + of(one), 0);
    const live = running.filter((one) => one.state === "live").length;
    put(document.querySelector("#summary"), `${live} of ${running.length} live, ${sum((one) => one.books.live)} of ${sum((one) => one.total)} books`);
    const most = Math.max(1, ...this.exchanges.map((one) => one.rate));
    this.rows.fill(this.exchanges, (one, cells, row) => {
      row.classList.toggle("wait", !one.total);
      label(cells[0], one.name, one.number);
      const pill = put(cells[1].firstChild, one.state);
      pill.dataset.state = one.state;
      pill.title = one.why;
      put(cells[2], age(one.age_ms));
      put(cells[3], one.total ? rate(one.rate) : "–");
      const warmth = Math.round(45 * Math.sqrt(one.rate / most));
      cells[3].style.background = one.rate ? `color-mix(in srgb, var(--focus) ${warmth}%, transparent)` : "";
      put(cells[4], one.latency ? `${micro(one.latency.p50_ns)} · ${micro(one.latency.p99_ns)}` : "–");
      interruption(cells[5], one.interruptions);
      put(cells[6], one.total ? `${one.books.live}/${one.total}` : "–");
      put(cells[7], one.total ? String(one.resyncs) : "–");
    });
  }

  // Rows are exchanges, columns seconds.
  heat(canvas, text) {
    const shown = this.exchanges.filter((one) => one.total);
    canvas.style.height = `${Math.max(2, shown.length) * LINE_PX}px`;
    const { context, width } = brush(canvas);
    const gutter = 86, cell = (width - gutter) / HISTORY_S, line = LINE_PX;
    const most = Math.max(1, ...shown.flatMap((one) => this.history.get(one.id) ?? []));
    const name = ink("ink"), warm = ink("focus");
    put(text, `at most ${rate(most)} a second; now on the right`);
    context.textBaseline = "middle";
    shown.forEach((one, row) => {
      const past = this.history.get(one.id) ?? [];
      context.fillStyle = name;
      context.fillText(one.name, 0, (row + 0.5) * line);
      context.fillStyle = warm;
      for (let at = 0; at < HISTORY_S; at += 1) {
        const value = past[past.length - HISTORY_S + at];
        context.globalAlpha = value ? 0.15 + 0.85 * Math.sqrt(value / most) : value === undefined ? 0.03 : 0.07;
        context.fillRect(gutter + at * cell, row * line + 1, cell - 1, line - 2);
      }
      context.globalAlpha = 1;
    });
  }

  latency(canvas, text, id) {
    const one = this.exchanges.find((each) => each.id === id), latency = one?.latency;
    const { context, width, height } = brush(canvas);
    if (!latency) return put(text, "nothing measured yet");
    put(text, `${latency.count} updates: half within ${micro(latency.p50_ns)} µs, 99 of 100 within ${micro(latency.p99_ns)} µs`);
    const buckets = latency.octaves, most = Math.max(...buckets.map((bucket) => bucket[1]));
    const step = width / buckets.length;
    buckets.forEach(([floor, count], at) => {
      const tall = count / most * (height - 34);
      context.fillStyle = colour(one.number);
      context.fillRect(at * step + 1, height - 18 - tall, step - 2, tall);
      context.fillStyle = ink("soft");
      if (at % Math.ceil(52 / step) === 0) context.fillText(short(floor), at * step + 1, height - 5);
    });
  }
}

// When it was last not live; a process that is back within a second has still been away.
function interruption(cell, { count, ago_ms: ago, lasted_ms: lasted }) {
  put(cell, !count ? "–" : ago ? `${count} ×, ${age(ago)} ago` : `for ${age(lasted)}`);
  cell.title = count ? `${count} times since the HTTP process started, the last for ${age(lasted)}` : "";
  cell.classList.toggle("warm", Boolean(count) && ago < FRESH_MS);
}

const micro = (ns) => ns >= 1e6 ? Math.round(ns / 1e3).toString() : (ns / 1e3).toPrecision(3);
const short = (ns) => ns < 1000 ? `${ns} ns` : ns < 1e6 ? `${Math.round(ns / 1e3)} µs` : ns < 1e9 ? `${Math.round(ns / 1e6)} ms` : `${Math.round(ns / 1e9)} s`;
