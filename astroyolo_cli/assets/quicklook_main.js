// Puts the parts together; view, filters and selection live in the address, so that it can be sent on.

let written = null; // the hash that this page wrote last
let waiting = null;
let drawing = null;

function select(i) {
  selected = i;
  scrollToSelected();
  drawRows();
  showDetails();
  drawStamp();
  showCounts();
  changed();
}

// After the filters or the order changed.
function refresh() {
  refilter();
  drawHead();
  drawRows();
  drawPlots();
  showCounts();
  changed();
}

function changed() {
  cancelAnimationFrame(drawing);
  if (viewer !== null) drawing = requestAnimationFrame(drawBoxes);
  clearTimeout(waiting);
  waiting = setTimeout(writeHash, 250);
}

function showCounts() {
  document.getElementById("count").textContent = `${shown.length} of ${total} sources shown`;
  document.getElementById("export-shown").disabled = shown.length === 0;
  const chosen = document.getElementById("export-marked");
  chosen.disabled = selection().length === 0;
  chosen.textContent = `CSV of the selection (${selection().length})`;
}

function showDetails() {
  const details = document.getElementById("details");
  const chosen = data.columns.filter((column) => MAIN.includes(column.name) && column.values[selected] !== null);
  details.replaceChildren(...chosen.flatMap((column) => [word("dt", column.name), word("dd", display(column, column.values[selected]))]));
  const bits = Object.entries(data.flags).filter(([bit]) => cell("flags", selected) & bit);
  document.getElementById("meanings").textContent = bits.map(([bit, meaning]) => `${bit}: ${meaning}`).join("; ");
}

function word(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function writeHash() {
  if (viewer === null || !viewer.world.getItemAt(0)) return;
  const { x, y, k } = view();
  const parts = new URLSearchParams({ x: x.toFixed(1), y: y.toFixed(1), zoom: k.toPrecision(4) });
  if (selected !== null) parts.set("row", selected + 1);
  if (order.name !== null) parts.set("sort", (order.falling ? "-" : "") + order.name);
  if (filters.hide.size) parts.set("hide", [...filters.hide].join(" "));
  if (filters.drop) parts.set("drop", filters.drop);
  for (const name of ["score", "bright"]) {
    if (filters[name].some((end) => end !== null)) parts.set(name, filters[name].map((end) => end ?? "").join(" "));
  }
  written = "#" + parts;
  if (written !== location.hash) history.replaceState(null, "", written);
}

function readHash() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const sort = parts.get("sort") || "";
  const falling = sort.startsWith("-") && !values.has(sort);
  const name = falling ? sort.slice(1) : sort;
  Object.assign(order, values.has(name) ? { name, falling } : { name: null, falling: false });
  filters.hide = new Set((parts.get("hide") || "").split(" ").filter((kind) => Object.hasOwn(KINDS, kind)));
  filters.drop = Number(parts.get("drop")) | 0;
  for (const end of ["score", "bright"]) filters[end] = [0, 1].map((i) => numberOf((parts.get(end) || "").split(" ")[i] || ""));
  fillFilters();
  refresh();
  const row = Number(parts.get("row")) - 1;
  if (Number.isInteger(row) && row >= 0 && row < total) select(row);
  const [x, y, k] = ["x", "y", "zoom"].map((key) => numberOf(parts.get(key) || ""));
  if (x !== null && y !== null && k > 0) setView(x, y, k, true);
}

function showTexts() {
  document.title = `${data.name}: AstroYOLO quick look`;
  document.getElementById("title").textContent = data.name;
  document.getElementById("about").textContent = data.about;
  document.getElementById("made").textContent = data.made;
  document.getElementById("header").textContent = data.header;
  document.getElementById("cards").hidden = data.header === "";
}

function openButtons() {
  const actions = {
    "zoom-in": () => viewer.viewport.zoomBy(1.5).applyConstraints(),
    "zoom-out": () => viewer.viewport.zoomBy(1 / 1.5).applyConstraints(),
    fit: () => viewer.viewport.goHome(),
    one: () => setView(view().x, view().y, 1, false),
  };
  for (const [id, action] of Object.entries(actions)) document.getElementById(id).addEventListener("click", action);
  document.getElementById("light").addEventListener("input", brighten);
}

showTexts();
openFilters();
openTable();
openButtons();
refresh();
openViewer(() => {
  readHash();
  for (const name of ["zoom", "pan"]) viewer.addHandler(name, changed);
  document.documentElement.dataset.ready = "yes";
});
window.addEventListener("hashchange", () => location.hash !== written && readHash());
window.addEventListener("resize", drawPlots);
