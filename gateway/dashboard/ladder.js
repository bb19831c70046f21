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
      put(cells[5], Number.isNaN(spread) ? "–" : spread.toFixed(2));
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
    const bars = (cells) => cells[0].append(make("span", "bar"), document.createTextNode(""));
    this.sides = { bids: new Rows(bids, 2, bars), asks: new Rows(asks, 2, bars) };
  }

  show(book, depth, numbers, only) {
    const bids = joined(book.sorted("bids"), depth), asks = joined(book.sorted("asks"), depth);
    const most = Math.max(...bids.map((row) => row[1]), ...asks.map((row) => row[1]), Number.MIN_VALUE);
    for (const [name, rows, at] of [["bids", bids, [0, 1]], ["asks", asks, [1, 0]]]) {
      this.sides[name].fill(rows, ([value, amount, parts], cells, row) => {
        const [left, right] = cells, bar = left.querySelector(".bar");
        const text = [quantity(amount), price(value)];
        write(left, text[at[0]]);
        put(right, text[at[1]]);
        (at[0] ? left : right).className = name === "bids" ? "bid" : "ask";
        row.title = parts.map(([part, exchange]) => `${exchange ?? only} ${quantity(part)}`).join(", ");
        const colours = parts.map(([part, exchange]) => [100 * part / most, colour(numbers.get(exchange ?? only) ?? 0)]);
        draw(bar, colours);
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
    const piece = bar.children[at];
    piece.style.width = `${width.toFixed(1)}%`;
    piece.style.setProperty("--colour", shade);
  });
}

export function depthChart(canvas, bids, asks) {
  const { context, width, height } = brush(canvas);
  if (!bids.length || !asks.length) return;
  const cumulated = (rows) => {
    let sum = 0;
    return rows.map(([at, amount]) => [at, sum += amount]);
  };
  const left = cumulated(bids), right = cumulated(asks);
  const middle = (left[0][0] + right[0][0]) / 2;
  const reach = Math.max(middle - left.at(-1)[0], right.at(-1)[0] - middle) || 1;
  const most = Math.max(left.at(-1)[1], right.at(-1)[1]);
  const x = (at) => width / 2 + (at - middle) / reach * width / 2, y = (sum) => height - 16 - sum / most * (height - 30);
  for (const [rows, name] of [[left, "bid"], [right, "ask"]]) {
    context.beginPath();
    context.moveTo(x(rows[0][0]), height - 16);
    let before = 0;
    for (const [at, sum] of rows) {
      context.lineTo(x(at), y(before));
      context.lineTo(x(at), y(sum));
      before = sum;
    }
    context.lineTo(x(rows.at(-1)[0]), height - 16);
    context.fillStyle = context.strokeStyle = ink(name);
    context.globalAlpha = 0.25;
    context.fill();
    context.globalAlpha = 1;
    context.stroke();
  }
  context.fillStyle = ink("soft");
  context.fillText(price(left.at(-1)[0]), 2, height - 3);
  context.textAlign = "center";
  context.fillText(price(Number(middle.toPrecision(10))), width / 2, height - 3);
  context.textAlign = "right";
  context.fillText(price(right.at(-1)[0]), width - 2, height - 3);
  context.fillText(`${quantity(most)} each side`, width - 2, 11);
  context.textAlign = "left";
}
