// The book: best prices by exchange, the ladder with each exchange's share of a price, the depth chart.

import { brush, colour, ink, make, price, put, quantity, Rows } from "./text.js";

export class Tops {
  constructor(body) {
    this.rows = new Rows(body, 6, (cells) => {
      cells[2].classList.add("bid");
      cells[3].classList.add("ask");
    });
  }

  // books: exchange -> its book, of which only the best levels are looked at.
  show(books, exchanges) {
    const items = exchanges.flatMap((one) => {
      const book = books.get(one.id), bid = book?.best("bids"), ask = book?.best("asks");
      return bid || ask ? [{ ...one, bid, ask }] : [];
    });
    const prices = (side) => items.flatMap((one) => one[side]?.[0] ?? []);
    const bid = Math.max(...prices("bid")), ask = Math.min(...prices("ask"));
    this.rows.fill(items, (one, cells) => {
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

// Cumulated quantity as far from the middle as both sides are known; a side ends where its levels end.
// Where exchanges cross, the sides overlap.
export function depthChart(canvas, bids, asks) {
  const { context, width, height } = brush(canvas);
  if (!bids.length || !asks.length) return;
  const middle = (bids[0][0] + asks[0][0]) / 2;
  const known = Math.min(middle - bids.at(-1)[0], asks.at(-1)[0] - middle);
  const reach = Math.max(known, Math.abs(bids[0][0] - asks[0][0]), middle * 1e-6);
  const cumulated = (rows) => {
    let sum = 0;
    return rows.filter(([at]) => Math.abs(at - middle) <= reach).map(([at, amount]) => [at, sum += amount]);
  };
  const sides = [["bid", bids, 0], ["ask", asks, width]].map(([name, all, edge]) => {
    const rows = cumulated(all);
    return [name, rows, rows.length < all.length ? edge : null];
  });
  const most = Math.max(...sides.map(([, rows]) => rows.at(-1)?.[1] ?? 0), Number.MIN_VALUE), floor = height - 18;
  const x = (at) => width / 2 + (at - middle) / reach * width / 2, y = (sum) => floor - sum / most * (height - 36);
  for (const [name, rows, edge] of sides) {
    if (!rows.length) continue;
    context.beginPath();
    context.moveTo(x(rows[0][0]), floor);
    let before = 0;
    for (const [at, sum] of rows) {
      context.lineTo(x(at), y(before));
      context.lineTo(x(at), y(sum));
      before = sum;
    }
    const end = edge ?? x(rows.at(-1)[0]);
    context.lineTo(end, y(before));
    context.lineTo(end, floor);
    context.fillStyle = context.strokeStyle = ink(name);
    context.globalAlpha = 0.25;
    context.fill();
    context.globalAlpha = 1;
    context.stroke();
  }
  context.fillStyle = ink("soft");
  const digits = Math.max(0, Math.min(8, 2 - Math.floor(Math.log10(reach))));
  const legend = (align, at, value) => {
    context.textAlign = align;
    context.fillText(value.toFixed(digits), at, height - 4);
  };
  legend("left", 2, middle - reach);
  legend("center", width / 2, middle);
  legend("right", width - 2, middle + reach);
  context.textAlign = "left";
  context.fillText(`up to ${quantity(most)} a side`, 2, 12);
}
