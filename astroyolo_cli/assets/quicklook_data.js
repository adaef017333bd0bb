// What the page shows: the catalog, which rows pass the filters, their order, and the rows as CSV.

const KINDS = {
  star: { colour: "#E69F00", dash: [], round: true, label: "star" },
  smooth: { colour: "#D55E00", dash: [], round: false, label: "smooth galaxy" },
  disk: { colour: "#009E73", dash: [6, 3], round: false, label: "disk galaxy" },
  other: { colour: "#56B4E9", dash: [2, 2], round: false, label: "other" },
};
const FORMULA = /^[=+\-@\t\r]/; // what a spreadsheet would run

const data = JSON.parse(document.getElementById("data").textContent);
const picture = document.getElementById("picture").textContent.trim();
const values = new Map(data.columns.map((column) => [column.name, column.values]));
const total = data.columns[0].values.length;
const kinds = Array.from({ length: total }, (_, i) => kindOf(i));
const brightness = (values.get("mag") || []).some((v) => v !== null) ? "mag" : "snr";

const filters = { hide: new Set(), score: [null, null], bright: [null, null], drop: 0 };
const order = { name: null, falling: false };
const marked = new Set();
let shown = Array.from({ length: total }, (_, i) => i);
let selected = null;

function cell(name, i) {
  const column = values.get(name);
  return column ? column[i] : null;
}

function kindOf(i) {
  const kind = cell("class", i) === "star" ? "star" : cell("morphology", i);
  return Object.hasOwn(KINDS, kind) ? kind : "other";
}

function passes(i) {
  if (filters.hide.has(kinds[i]) || (cell("flags", i) & filters.drop) !== 0) return false;
  return within(cell("score", i), filters.score) && within(cell(brightness, i), filters.bright);
}

// Where a limit is set, what is unknown is out.
function within(value, [low, high]) {
  if (low === null && high === null) return true;
  return value !== null && (low === null || value >= low) && (high === null || value <= high);
}

function refilter() {
  shown = [];
  for (let i = 0; i < total; i++) if (passes(i)) shown.push(i);
  if (order.name === null) return;
  const column = values.get(order.name);
  const sign = order.falling ? -1 : 1;
  shown.sort((i, j) => compare(column[i], column[j], sign) || i - j);
}

// Unknown values come last, whatever the order.
function compare(a, b, sign) {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  return a < b ? -sign : sign;
}

function display(column, value) {
  if (value === null) return "";
  if (column.text || Number.isInteger(value)) return String(value);
  if (column.decimals !== null) return value.toFixed(column.decimals);
  return Math.abs(value) < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(6)));
}

function csvOf(rows) {
  const lines = [data.columns.map((column) => csvCell(column.name))];
  for (const i of rows) lines.push(data.columns.map((column) => csvCell(column.values[i])));
  return lines.map((line) => line.join(",") + "\n").join("");
}

// Text that a spreadsheet shows and does not run; numbers keep their sign.
function csvCell(value) {
  if (value === null) return "";
  if (typeof value !== "string") return String(value);
  const harmless = FORMULA.test(value) ? "'" + value : value;
  return /[",\r\n]/.test(harmless) ? '"' + harmless.replaceAll('"', '""') + '"' : harmless;
}

function save(rows) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csvOf(rows)], { type: "text/csv" }));
  link.download = data.name.replace(/\.[^.]*$/, "") + ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
