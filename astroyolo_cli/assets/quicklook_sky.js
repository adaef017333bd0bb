// Pixels to the sky: directions at the nodes of a grid over the frame, interpolated between them.

// [ra, dec] in degrees, ICRS, at a pixel of the whole frame, from 0; null outside of what was read and where the WCS does not reach.
function skyAt(x, y) {
  const grid = data.sky;
  const [right, top] = [(x - data.offset[0] + 0.5) / data.width, (y - data.offset[1] + 0.5) / data.height]; // 0 to 1 in what was read
  if (grid === null || right < 0 || top < 0 || right > 1 || top > 1) return null;
  const [u, v] = [right * grid.cells, top * grid.cells];
  const column = Math.min(Math.floor(u), grid.cells - 1);
  const row = Math.min(Math.floor(v), grid.cells - 1);
  const vector = between(grid, column, row, u - column, v - row);
  return vector && angles(vector);
}

function between(grid, column, row, s, t) {
  const sum = [0, 0, 0];
  for (const [dx, dy, weight] of [[0, 0, (1 - s) * (1 - t)], [1, 0, s * (1 - t)], [0, 1, (1 - s) * t], [1, 1, s * t]]) {
    const node = 3 * ((row + dy) * (grid.cells + 1) + column + dx);
    if (grid.vectors[node] === null) return null;
    for (let axis = 0; axis < 3; axis++) sum[axis] += weight * grid.vectors[node + axis];
  }
  return sum;
}

function angles([x, y, z]) {
  const degrees = 180 / Math.PI;
  const ra = Math.atan2(y, x) * degrees;
  return [ra < 0 ? ra + 360 : ra, Math.atan2(z, Math.hypot(x, y)) * degrees];
}

function sexagesimal(value, digits) {
  const unit = 10 ** digits;
  const ticks = Math.round(Math.abs(value) * 3600 * unit);
  const seconds = ((ticks / unit) % 60).toFixed(digits).padStart(digits + 3, "0");
  const minutes = Math.floor(ticks / unit / 60);
  const two = (n) => String(n).padStart(2, "0");
  return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}:${seconds}`;
}

function skyText(sky) {
  if (sky === null) return "";
  const [ra, dec] = sky;
  const sign = dec < 0 ? "-" : "+";
  const [hours, degrees] = [sexagesimal(ra / 15, 2), sexagesimal(dec, 1)];
  return `RA ${ra.toFixed(6)} Dec ${sign}${Math.abs(dec).toFixed(6)}   ${hours} ${sign}${degrees}`;
}
