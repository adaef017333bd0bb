// Two small plots of the rows shown: how bright they are, and how sure the network is of stars at each brightness.

const MARGIN = { left: 44, right: 8, top: 8, bottom: 30 };
const brightnessLabel = brightness === "mag" ? "mag (AB)" : "log10 S/N";

function drawPlots() {
  const points = shown.map((i) => [scaled(cell(brightness, i)), i]).filter(([value]) => value !== null);
  const range = rangeOf(points.map(([value]) => value));
  drawHistogram(points, range);
  drawScatter(points, range);
}

// S/N spans decades.
function scaled(value) {
  if (value === null || brightness === "mag") return value;
  return value > 0 ? Math.log10(value) : null;
}

function rangeOf(numbers) {
  const low = numbers.reduce((a, b) => Math.min(a, b), Infinity);
  const high = numbers.reduce((a, b) => Math.max(a, b), -Infinity);
  if (low > high) return [0, 1];
  const step = high - low > 4 ? 1 : 0.5;
  return [Math.floor(low / step) * step, Math.max(Math.ceil(high / step) * step, Math.floor(low / step) * step + step)];
}

function drawHistogram(points, [low, high]) {
  const canvas = document.getElementById("histogram");
  const bins = 24;
  const counts = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, new Array(bins).fill(0)]));
  for (const [value, i] of points) counts[kinds[i]][Math.min(bins - 1, Math.floor(((value - low) / (high - low)) * bins))]++;
  const highest = Math.max(1, ...Array.from({ length: bins }, (_, bin) => Object.values(counts).reduce((sum, c) => sum + c[bin], 0)));
  const [pen, toX, toY] = axes(canvas, [low, high], [0, highest], "sources");
  const below = new Array(bins).fill(0);
  for (const [kind, numbers] of Object.entries(counts)) {
    pen.fillStyle = KINDS[kind].colour;
    numbers.forEach((n, bin) => {
      const [left, right] = [bin, bin + 1].map((edge) => toX(low + ((high - low) * edge) / bins));
      pen.fillRect(left, toY(below[bin] + n), right - left - 1, toY(below[bin]) - toY(below[bin] + n));
      below[bin] += n;
    });
  }
  canvas.setAttribute("aria-label", `Histogram of ${brightnessLabel} of ${points.length} sources from ${low} to ${high}`);
}

function drawScatter(points, range) {
  const canvas = document.getElementById("scatter");
  const [pen, toX, toY] = axes(canvas, range, [0, 1], "p_star");
  for (const [value, i] of points) if (cell("p_star", i) !== null) drawPoint(pen, KINDS[kinds[i]], toX(value), toY(cell("p_star", i)));
  canvas.setAttribute("aria-label", `p_star against ${brightnessLabel} of ${points.length} sources`);
}

// Stars round, smooth galaxies filled squares, disks open ones.
function drawPoint(pen, kind, x, y) {
  pen.fillStyle = pen.strokeStyle = kind.colour;
  pen.lineWidth = 1;
  pen.beginPath();
  if (kind.round) pen.arc(x, y, 2, 0, 2 * Math.PI);
  else pen.rect(x - 2, y - 2, 4, 4);
  if (kind.dash.length) pen.stroke();
  else pen.fill();
}

// A pen, and functions from values to its coordinates; the lowest and highest value stand at the axes.
function axes(canvas, [left, right], [low, high], label) {
  const [width, height, pen] = cleared(canvas);
  const [x0, x1, y0, y1] = [MARGIN.left, width - MARGIN.right, height - MARGIN.bottom, MARGIN.top];
  const toX = (value) => x0 + ((value - left) / (right - left)) * (x1 - x0);
  const toY = (value) => y0 + ((value - low) / (high - low)) * (y1 - y0);
  pen.strokeStyle = "#77808a";
  pen.fillStyle = "#c9ced4";
  pen.font = "11px system-ui, sans-serif";
  pen.strokeRect(x0, y1, x1 - x0, y0 - y1);
  words(pen, [[String(low), x0 - 4, y0, "right"], [String(high), x0 - 4, y1 + 8, "right"], [String(left), x0, y0 + 13, "left"]]);
  words(pen, [[String(right), x1, y0 + 13, "right"], [brightnessLabel, (x0 + x1) / 2, y0 + 24, "center"]]);
  pen.save();
  pen.translate(12, (y0 + y1) / 2);
  pen.rotate(-Math.PI / 2);
  words(pen, [[label, 0, 0, "center"]]);
  pen.restore();
  return [pen, toX, toY];
}

function words(pen, list) {
  for (const [text, x, y, align] of list) {
    pen.textAlign = align;
    pen.fillText(text, x, y);
  }
}
