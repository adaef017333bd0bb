// The table: of 50,000 rows only those in sight exist.

const ROW = 24; // pixels, as in the style
const MAIN = ["id", "class", "morphology", "score", "p_star", "mag", "snr", "x", "y", "ra", "dec", "flags"];
const table = document.getElementById("table");
const head = document.getElementById("head");
const rows = document.getElementById("rows");
let columns = [];
let widths = "";

function chooseColumns() {
  const all = document.getElementById("all-columns").checked;
  const known = (column) => MAIN.includes(column.name) && column.values.some((value) => value !== null);
  columns = all ? data.columns : MAIN.flatMap((name) => data.columns.filter((column) => column.name === name && known(column)));
  if (columns.length === 0) columns = data.columns;
  widths = columns.map((column) => `${widthOf(column)}ch`).join(" ");
  drawHead();
  drawRows();
}

// In characters: of the name with its arrow, and of a sample of what is below it.
function widthOf(column) {
  const step = Math.max(1, Math.floor(total / 300));
  let most = column.name.length + 2;
  for (let i = 0; i < total; i += step) most = Math.max(most, display(column, column.values[i]).length);
  return Math.min(most, 40);
}

function drawHead() {
  head.replaceChildren(...columns.map(headCell));
  head.style.gridTemplateColumns = widths;
  table.setAttribute("aria-colcount", columns.length);
}

function headCell(column) {
  const outer = document.createElement("div");
  const button = document.createElement("button");
  const sorted = order.name === column.name;
  button.type = "button";
  button.textContent = column.name + (sorted ? (order.falling ? " \u25bc" : " \u25b2") : "");
  button.title = [column.meaning, column.unit && `[${column.unit}]`].filter(Boolean).join(" ");
  button.dataset.column = column.name;
  button.addEventListener("click", () => sortBy(column.name));
  outer.setAttribute("role", "columnheader");
  outer.setAttribute("aria-sort", sorted ? (order.falling ? "descending" : "ascending") : "none");
  outer.className = column.text ? "text" : "number";
  outer.append(button);
  return outer;
}

function sortBy(name) {
  order.falling = order.name === name && !order.falling;
  order.name = name;
  refresh();
  [...head.querySelectorAll("button")].find((button) => button.dataset.column === name)?.focus();
}

function drawRows() {
  rows.style.height = `${shown.length * ROW}px`;
  table.setAttribute("aria-rowcount", shown.length + 1);
  const first = Math.max(0, Math.floor(table.scrollTop / ROW) - 4);
  const last = Math.min(shown.length, first + Math.ceil(table.clientHeight / ROW) + 8);
  const some = [];
  for (let place = first; place < last; place++) some.push(rowAt(place));
  rows.replaceChildren(...some);
  showActive();
}

function rowAt(place) {
  const i = shown[place];
  const row = document.createElement("div");
  row.className = marked.has(i) ? "row marked" : "row";
  row.id = `row-${i}`;
  row.setAttribute("role", "row");
  row.setAttribute("aria-rowindex", place + 2);
  row.setAttribute("aria-selected", i === selected);
  row.style.top = `${place * ROW}px`;
  row.style.gridTemplateColumns = widths;
  row.append(...columns.map((column) => tableCell(column, i)));
  return row;
}

function tableCell(column, i) {
  const span = document.createElement("span");
  span.setAttribute("role", "gridcell");
  span.className = column.text ? "text" : "number";
  span.textContent = display(column, column.values[i]);
  return span;
}

// By place, not by element: rows may be drawn anew between press and release.
function rowClicked(event) {
  const i = shown[Math.floor((event.clientY - rows.getBoundingClientRect().top) / ROW)];
  if (i === undefined) return;
  if (event.ctrlKey || event.metaKey) return mark(i);
  select(i);
  goTo(i);
}

function mark(i) {
  if (!marked.delete(i)) marked.add(i);
  drawRows();
  showCounts();
}

function showActive() {
  if (selected !== null && document.getElementById(`row-${selected}`)) table.setAttribute("aria-activedescendant", `row-${selected}`);
  else table.removeAttribute("aria-activedescendant");
}

function scrollToSelected() {
  const place = shown.indexOf(selected);
  if (place < 0) return;
  const [top, visible] = [place * ROW, table.clientHeight - ROW]; // the header covers one row
  if (top < table.scrollTop) table.scrollTop = top;
  if (top + ROW > table.scrollTop + visible) table.scrollTop = top + ROW - visible;
}

function tableKey(event) {
  if (event.target !== table || event.ctrlKey || event.metaKey || event.altKey) return;
  const page = Math.max(1, Math.floor(table.clientHeight / ROW) - 2);
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (event.key in steps) move(steps[event.key]);
  else if (event.key === "Enter" && selected !== null) goTo(selected);
  else if (event.key === " " && selected !== null) mark(selected);
  else return;
  event.preventDefault();
}

function move(step) {
  if (shown.length === 0) return;
  const place = shown.indexOf(selected);
  select(shown[place < 0 ? 0 : Math.min(Math.max(place + step, 0), shown.length - 1)]);
}

function openTable() {
  table.addEventListener("scroll", () => requestAnimationFrame(drawRows));
  table.addEventListener("keydown", tableKey);
  rows.addEventListener("click", rowClicked);
  new ResizeObserver(() => drawRows()).observe(table);
  document.getElementById("all-columns").addEventListener("change", chooseColumns);
  document.getElementById("export-shown").addEventListener("click", () => save(shown));
  document.getElementById("export-marked").addEventListener("click", () => save(selection()));
  chooseColumns();
}

// The marked rows and the selected one, in the catalog's order.
function selection() {
  return [...new Set(selected === null ? marked : [...marked, selected])].sort((a, b) => a - b);
}
