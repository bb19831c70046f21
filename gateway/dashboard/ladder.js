// The book: best prices by exchange, the ladder with each exchange's share of a price, the depth chart.

import { brush, colour, ink, make, price, put, quantity, Rows } from "./text.js";

export class Tops {
  constructor(body) {
    this.rows = new Rows(body, 6, (cells) => {
      cells[2].classList.add("bid");
      cells[3].classList.add("ask");
    });
    this.known = new Map(); // exchange -> its best levels, and of which book and version
  }

  // The best levels of a book; `changed` where they are looked at for the first time.
  bestOf(id, book) {
    let known = this.known.get(id);
    if (known?.book === book && known.version === book.version) return known;
    known = { book, version: book.version, bid: book.best("bids"), ask: book.best("asks"), changed: true };
    this.known.set(id, known);
    return known;
  }

  // books: exchange -> its book, of which only the best levels are looked at. Writes rows that differ.
  show(books, exchanges) {
    const items = [];
    for (const { id, name, number } of exchanges) {
      const book = books.get(id), best = book && this.bestOf(id, book);
      if (best?.bid || best?.ask) items.push({ name, number, best, bid: best.bid, ask: best.ask });
    }
    const prices = (side) => items.flatMap((one) => one[side]?.[0] ?? []);
    const bid = Math.max(...prices("bid")), ask = Math.min(...prices("ask"));
    this.rows.fill(items, (one, cells, row) => {
      const bold = `${one.bid?.[0] === bid} ${one.ask?.[0] === ask}`;
      if (!one.best.changed && row.dataset.bold === bold && cells[0].dataset.name === one.name) return;
      one.best.changed = false;
      row.dataset.bold = bold;
      label(cells[0], one.name, one.number);
      put(cells[1], quantity(one.bid?.[1]));
      put(cells[2], price(one.bid?.[0])).classList.toggle("best", one.bid?.[0] === bid);
      put(cells[3], price(one.ask?.[0])).classList.toggle("best", one.ask?.[0] === ask);
      put(cells[4], quantity(one.ask?.[1]));
      const spread = one.bid && one.ask ? (one.ask[0] - one.bid[0]) / (one.ask[0] + one.bid[0]) * 2e4 : NaN;
      put(cells[5], Number.isNaN(spread) ? "–" : spread.toFixed(3));
    });
  }
}

export function label(cell, name, number) {
  if (cell.dataset.name === name) return;
  cell.dataset.name = name;
  const swatch = make("span", "swatch");
  swatch.style.setProperty("--colour", colour(number));
  cell.replaceChildren(swatch, name);
}

// Levels of equal price joined: [price, quantity, [[quantity, exchange], ...]].
export function joined(levels, depth) {
  const out = [];
  for (const [at, amount, , exchange] of levels) {
    const last = out.at(-1);
    if (last && last[0] === at) {
      last[1] += amount;
      last[2].push([amount, exchange]);
    } else {
      if (out.length === depth) break;
      out.push([at, amount, [[amount, exchange]]]);
    }
  }
  return out;
}

export class Ladder {
  constructor(bids, asks) {
    const inner = { bids: 2, asks: 0 }; // the price stands at the middle of the page, and so does the bar's foot
    this.sides = Object.fromEntries([["bids", bids], ["asks", asks]].map(([name, body]) => [name, new Rows(body, 3, (cells) => {
      cells[0].append(make("span", "bar"), document.createTextNode(""));
      cells[1].className = "who";
      cells[inner[name]].classList.add(name === "bids" ? "bid" : "ask");
    })]));
  }

  // names: exchange -> its name.
  show(book, depth, numbers, names, only) {
    const bids = joined(book.sorted("bids"), depth), asks = joined(book.sorted("asks"), depth);
    const most = Math.max(...bids.map((row) => row[1]), ...asks.map((row) => row[1]), Number.MIN_VALUE);
    for (const [name, rows] of [["bids", bids], ["asks", asks]]) {
      this.sides[name].fill(rows, ([value, amount, parts], cells, row) => {
        const text = name === "bids" ? [quantity(amount), price(value)] : [price(value), quantity(amount)];
        write(cells[0], text[0]);
        put(cells[2], text[1]);
        put(cells[1], parts.length > 1 ? `${parts.length} exchanges` : names.get(parts[0][1] ?? only) ?? "");
        const title = parts.map(([part, exchange]) => `${exchange ?? only} ${quantity(part)}`).join(", ");
        if (row.title !== title) row.title = title;
        draw(cells[0].firstChild, parts.map(([part, exchange]) => [100 * part / most, colour(numbers.get(exchange ?? only) ?? 0)]));
      });
    }
    return { bids, asks };
  }
}

// The text behind the bar of a cell.
function write(cell, text) {
  const node = cell.childNodes[1];
  if (node.data !== text) node.data = text;
}

function draw(bar, parts) {
  while (bar.children.length < parts.length) bar.append(make("i"));
  while (bar.children.length > parts.length) bar.lastChild.remove();
  parts.forEach(([width, shade], at) => {
    const piece = bar.children[at], wanted = `${width.toFixed(1)}%`;
    if (piece.style.width !== wanted) piece.style.width = wanted;
    if (piece.dataset.shade === shade) return;
    piece.dataset.shade = shade;
    piece.style.setProperty("--colour", shade);
  });
}

// What the chart shows of both sides: the price of each in the middle of the chart, and how far to its edges.
// As far from the middle as both sides are known; where exchanges cross, the sides overlap. Where they cross by more
// than that, as far as either is known; by more than both are, each side begins at its own best, `apart`.
export function depthScale(bids, asks) {
  const bid = bids[0][0], ask = asks[0][0], middle = (bid + ask) / 2, least = middle * 1e-6, crossed = bid - ask;
  const low = bids.at(-1)[0], high = asks.at(-1)[0], known = [bid - low, high - ask];
  if (crossed > known[0] + known[1]) return { apart: true, crossed, bid, ask, reach: Math.max(...known, least) };
  const far = [middle - low, high - middle], both = crossed <= Math.min(...known) / 2;
  const reach = both ? Math.max(Math.min(...far), Math.abs(crossed)) : Math.max(...far, crossed / 2);
  return { apart: false, crossed, bid: middle, ask: middle, reach: Math.max(reach, least) };
}

// Cumulated quantity by price; faint where no more levels are known, so that it is that much at least.
export function depthChart(canvas, bids, asks) {
  const { context, width, height } = brush(canvas);
  if (!bids.length || !asks.length) return;
  const scale = depthScale(bids, asks), { reach, apart, crossed } = scale;
  const cumulated = (rows, from) => {
    let sum = 0;
    return rows.filter(([at]) => Math.abs(at - from) <= reach).map(([at, amount]) => [at, sum += amount]);
  };
  const sides = [["bid", bids, 0], ["ask", asks, width]].map(([name, all, edge]) => {
    const rows = cumulated(all, scale[name]);
    return [name, rows, rows.length < all.length, edge];
  });
  const most = Math.max(...sides.map(([, rows]) => rows.at(-1)?.[1] ?? 0), Number.MIN_VALUE), floor = height - 18;
  const y = (sum) => floor - sum / most * (height - 36);
  for (const [name, rows, more, edge] of sides) {
    if (!rows.length) continue;
    const x = (at) => width / 2 + (at - scale[name]) / reach * width / 2;
    context.beginPath();
    context.moveTo(x(rows[0][0]), floor);
    let before = 0;
    for (const [at, sum] of rows) {
      context.lineTo(x(at), y(before));
      context.lineTo(x(at), y(sum));
      before = sum;
    }
    const end = more ? edge : x(rows.at(-1)[0]);
    context.lineTo(end, y(before));
    if (more) context.lineTo(end, floor);
    context.fillStyle = context.strokeStyle = ink(name);
    context.stroke();
    context.lineTo(end, floor);
    context.globalAlpha = 0.25;
    context.fill();
    context.globalAlpha = 0.1;
    context.fillRect(end, y(before), edge - end, floor - y(before));
    context.globalAlpha = 1;
  }
  context.fillStyle = ink("soft");
  const digits = Math.max(0, Math.min(8, 2 - Math.floor(Math.log10(reach))));
  const legend = (align, at, value) => {
    context.textAlign = align;
    context.fillText(value.toFixed(digits), at, height - 4);
  };
  legend("left", 2, scale.bid - reach);
  legend("right", width - 2, scale.ask + reach);
  if (apart) {
    legend("right", width / 2 - 6, scale.bid);
    legend("left", width / 2 + 6, scale.ask);
  } else {
    legend("center", width / 2, scale.bid);
  }
  if (crossed > 0) {
    context.textAlign = "right";
    context.fillText(`crossed by ${crossed.toFixed(digits)}${apart ? ", sides apart" : ""}`, width - 2, 12);
  }
  context.textAlign = "left";
  context.fillText(`up to ${quantity(most)} a side`, 2, 12);
}
