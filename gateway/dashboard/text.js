// Numbers and elements as the page shows them.

// Neighbours in number differ in hue, those of like hue in lightness.
export const colour = (number) => `hsl(${((number * 137.508) % 360).toFixed(0)} 62% ${[50, 62, 40][number % 3]}%)`;

export const price = (value) => value === undefined ? "–" : String(value);

// A quantity in at most 7 characters, thousands as k.
export function quantity(value) {
  if (value === undefined) return "–";
  if (value >= 1e9) return `${(value / 1e9).toPrecision(4)}G`;
  if (value >= 1e6) return `${(value / 1e6).toPrecision(4)}M`;
  if (value >= 1e4) return `${(value / 1e3).toPrecision(4)}k`;
  if (value >= 1) return value.toFixed(4 - Math.floor(Math.log10(value)));
  return value < 1e-5 ? value.toExponential(0) : value.toFixed(5);
}

export function age(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 90_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 5_400_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

export const rate = (value) => value >= 100 ? Math.round(value).toString() : value.toFixed(1);

// Sets the text only where it changed, so that nothing is laid out anew for nothing. All text of such an element
// comes through here: what it shows is remembered, not read from the document.
const shown = new WeakMap();
export function put(element, text) {
  if (shown.get(element) === text) return element;
  shown.set(element, text);
  const node = element.firstChild;
  if (node && node === element.lastChild && node.nodeType === Node.TEXT_NODE) node.data = text;
  else element.textContent = text;
  return element;
}

export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

// Rows of a table body, made once and then only filled: cells(row) tells the texts.
export class Rows {
  constructor(body, columns, prepare = () => {}) {
    this.body = body;
    this.columns = columns;
    this.prepare = prepare;
    this.rows = [];
  }

  fill(items, write) {
    while (this.rows.length < items.length) {
      const row = make("tr");
      const cells = Array.from({ length: this.columns }, () => row.appendChild(make("td")));
      this.prepare(cells, row);
      this.rows.push({ row, cells });
      this.body.append(row);
    }
    this.rows.forEach(({ row, cells }, at) => {
      row.hidden = at >= items.length;
      if (at < items.length) write(items[at], cells, row);
    });
  }
}

// A canvas in real pixels, cleared, and its size in CSS pixels.
export function brush(canvas) {
  const scale = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  return { context, width, height };
}

// Colours of the style sheet, asked for once by day and once by night.
const inks = new Map(), dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => inks.clear());
export function ink(name) {
  if (!inks.has(name)) inks.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return inks.get(name);
}
