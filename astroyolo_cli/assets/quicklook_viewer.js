// The frame with its boxes: pan, zoom, clicks and the place under the cursor.

const stage = document.getElementById("viewer");
const overlay = document.getElementById("overlay");
const whole = new Image(); // the picture again, for stamps
const tiles = new Map(); // of a picture in tiles those that stamps needed, by column and row
const CROWD = 3000; // boxes in sight
const SEEN_ROUND = 6; // pixels of the screen from which on a circle differs from a square
let viewer = null;

function openViewer(ready) {
  viewer = OpenSeadragon({
    element: stage,
    tileSources: data.tiles ? deepZoom() : { type: "image", url: picture },
    drawer: "canvas",
    showNavigationControl: false,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    maxZoomPixelRatio: 40 * data.reduction,
    minZoomImageRatio: 0.5,
    visibilityRatio: 0.2,
    animationTime: 0.4,
  });
  viewer.addHandler("canvas-key", (event) => {
    if ("rRfF".includes(event.originalEvent.key)) event.preventDefaultAction = true; // turning the sky would belie the axes
  });
  viewer.addHandler("canvas-click", (event) => event.quick && clicked(event.position));
  viewer.addHandler("update-viewport", drawBoxes);
  viewer.addHandler("resize", drawBoxes);
  viewer.addHandler("open", ready);
  viewer.addHandler("open-failed", () => (document.getElementById("cursor").textContent = "The picture cannot be shown."));
  stage.addEventListener("pointermove", (event) => showPlace(event));
  stage.addEventListener("pointerleave", () => (document.getElementById("cursor").textContent = ""));
  whole.onload = drawStamp;
  if (!data.tiles) whole.src = picture;
}

function deepZoom() {
  const [Width, Height] = data.picture;
  const form = { xmlns: "http://schemas.microsoft.com/deepzoom/2008", Url: `${data.tiles.folder}/`, Format: "jpg", Overlap: 0 };
  return { Image: { ...form, TileSize: data.tiles.side, Size: { Width, Height } } };
}

// Pixels of the catalog, those of the whole frame, to the picture's: from its left and top edge, in pixels of the frame; and back.
// The picture begins at the offset where a part of the frame was read. Rows of a FITS frame count upwards; pixel 0 begins at -0.5.
const turned = (v) => (data.flipped ? data.picture[1] * data.reduction - v : v);
const across = (x) => x - data.offset[0] + 0.5;
const up = (y) => turned(y - data.offset[1] + 0.5);
const inFrame = (u, v) => [u + data.offset[0] - 0.5, turned(v) + data.offset[1] - 0.5];

// Where the frame lies on the screen: its corner, and screen pixels a pixel of the frame.
function placement() {
  const item = viewer.world.getItemAt(0);
  if (!item) return null;
  const corner = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
  const far = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(data.picture[0], 0));
  return { x: corner.x, y: corner.y, k: (far.x - corner.x) / (data.picture[0] * data.reduction) };
}

function pixelAt(position) {
  const place = placement();
  if (place === null) return null;
  return inFrame((position.x - place.x) / place.k, (position.y - place.y) / place.k);
}

function showPlace(event) {
  const bounds = stage.getBoundingClientRect();
  const pixel = pixelAt({ x: event.clientX - bounds.left, y: event.clientY - bounds.top });
  if (pixel === null) return;
  const [x, y] = pixel;
  document.getElementById("cursor").textContent = `x ${x.toFixed(2)} y ${y.toFixed(2)}   ${skyText(skyAt(x, y))}`;
}

// The smallest box under the pointer: it may lie within another.
function clicked(position) {
  const pixel = pixelAt(position);
  if (pixel === null) return;
  const [x, y] = pixel;
  const area = (i) => (cell("xmax", i) - cell("xmin", i)) * (cell("ymax", i) - cell("ymin", i));
  const over = (i) => x >= cell("xmin", i) && x <= cell("xmax", i) && y >= cell("ymin", i) && y <= cell("ymax", i);
  const hits = shown.filter(over);
  if (hits.length) select(hits.reduce((a, b) => (area(b) < area(a) ? b : a)));
}

function drawBoxes() {
  const place = placement();
  const [width, height, pen] = cleared(overlay);
  if (place === null) return;
  viewer.drawer.setImageSmoothingEnabled(place.k * data.reduction < 1);
  const sight = shown.filter((i) => inSight(place, width, height, 4 * i));
  if (sight.length < CROWD) for (const i of sight) strokeBox(pen, KINDS[kinds[i]], boxOn(place, i));
  else strokeCrowd(pen, place, sight);
  if (selected !== null) drawSelection(pen, boxOn(place, selected));
}

// Left, top, width and height of every box in the picture, in pixels of the frame, as they are shown: found once, for all are looked at in every picture.
const boxes = new Float64Array(4 * total);
for (let i = 0; i < total; i++) {
  const edges = [up(cell("ymin", i)), up(cell("ymax", i))];
  boxes.set([across(cell("xmin", i)), Math.min(...edges), cell("xmax", i) - cell("xmin", i), Math.abs(edges[1] - edges[0])], 4 * i);
}

function inSight({ x, y, k }, width, height, at) {
  const left = x + k * boxes[at];
  const top = y + k * boxes[at + 1];
  return left < width && top < height && left + k * boxes[at + 2] > 0 && top + k * boxes[at + 3] > 0;
}

function boxOn(place, i) {
  const [left, top, width, height] = boxes.subarray(4 * i, 4 * i + 4);
  return [place.x + place.k * left, place.y + place.k * top, place.k * width, place.k * height];
}

// A dark rim below makes colours stand out on bright galaxies.
function strokeBox(pen, kind, [x, y, w, h]) {
  pen.beginPath();
  if (kind.round) pen.ellipse(x + w / 2, y + h / 2, w / 2, h / 2, 0, 0, 2 * Math.PI);
  else pen.rect(x, y, w, h);
  pen.setLineDash(kind.dash);
  for (const [colour, thick] of [["#000a", 4], [kind.colour, 2]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = thick;
    pen.stroke();
  }
}

// Thousands of boxes: thin, without rims and dashes, and round only where that can be seen.
function strokeCrowd(pen, { x, y, k }, sight) {
  pen.setLineDash([]);
  pen.lineWidth = 1;
  for (const [name, kind] of Object.entries(KINDS)) {
    pen.strokeStyle = kind.colour;
    for (const i of sight) {
      if (kinds[i] !== name) continue;
      const [left, top, w, h] = [x + k * boxes[4 * i], y + k * boxes[4 * i + 1], k * boxes[4 * i + 2], k * boxes[4 * i + 3]];
      if (kind.round && w > SEEN_ROUND) {
        pen.beginPath();
        pen.ellipse(left + w / 2, top + h / 2, w / 2, h / 2, 0, 0, 2 * Math.PI);
        pen.stroke();
      } else pen.strokeRect(left, top, w, h);
    }
  }
}

function drawSelection(pen, [x, y, w, h]) {
  pen.setLineDash([]);
  pen.strokeStyle = "#fff";
  pen.lineWidth = 2;
  pen.strokeRect(x - 4, y - 4, w + 8, h + 8);
}

// A canvas as sharp as the screen: its width and height in CSS pixels, and a pen that counts in them.
function cleared(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return [width, height, pen];
}

// The view: the pixel of the whole frame in the middle and screen pixels a pixel of the frame, of where an animation ends.
function view() {
  const item = viewer.world.getItemAt(0);
  const middle = item.viewportToImageCoordinates(viewer.viewport.getCenter(false));
  const k = item.viewportToImageZoom(viewer.viewport.getZoom(false)) / data.reduction;
  const [x, y] = inFrame(middle.x * data.reduction, middle.y * data.reduction);
  return { x, y, k };
}

function setView(x, y, k, immediately) {
  const item = viewer.world.getItemAt(0);
  const middle = new OpenSeadragon.Point(across(x) / data.reduction, up(y) / data.reduction);
  viewer.viewport.zoomTo(item.imageToViewportZoom(k * data.reduction), null, immediately);
  viewer.viewport.panTo(item.imageToViewportCoordinates(middle), immediately);
}

function goTo(i) {
  setView(middleOf(i)[0], middleOf(i)[1], Math.max(view().k, 3), false);
}

const middleOf = (i) => [(cell("xmin", i) + cell("xmax", i)) / 2, (cell("ymin", i) + cell("ymax", i)) / 2];

const brightened = () => `brightness(${document.getElementById("light").value})`;

function brighten() {
  stage.style.filter = brightened();
  drawStamp();
}

function drawStamp() {
  const [width, height, pen] = cleared(document.getElementById("stamp"));
  if (selected === null || (!data.tiles && !whole.complete)) return;
  const [x, y] = middleOf(selected);
  const side = 2.2 * Math.max(cell("xmax", selected) - cell("xmin", selected), cell("ymax", selected) - cell("ymin", selected), 8);
  const k = width / side;
  const [left, top] = [across(x) - side / 2, up(y) - side / 2];
  pen.imageSmoothingEnabled = false;
  pen.filter = brightened();
  for (const [image, imageLeft, imageTop] of data.tiles ? tilesAt(left, top, side) : [[whole, 0, 0]]) {
    const scale = k * data.reduction;
    pen.drawImage(image, imageLeft * k - left * k, imageTop * k - top * k, image.naturalWidth * scale, image.naturalHeight * scale);
  }
  pen.filter = "none";
  strokeBox(pen, KINDS[kinds[selected]], boxOn({ x: -left * k, y: -top * k, k }, selected));
}

// The tiles that a square of the picture needs, those that are there already; the others draw the stamp again when they come.
function tilesAt(left, top, side) {
  const T = data.tiles.side;
  const range = (low, n) => [Math.max(Math.floor(low / T), 0), Math.min(Math.floor((low + side) / T), Math.ceil(n / T) - 1)];
  const [[i0, i1], [j0, j1]] = [range(left, data.picture[0]), range(top, data.picture[1])];
  const found = [];
  for (let j = j0; j <= j1; j++) {
    for (let i = i0; i <= i1; i++) {
      const image = tileImage(i, j);
      if (image.complete && image.naturalWidth) found.push([image, i * T, j * T]);
    }
  }
  return found;
}

function tileImage(i, j) {
  const name = `${i}_${j}`;
  if (!tiles.has(name)) {
    const image = new Image();
    image.onload = drawStamp;
    image.src = `${data.tiles.folder}/${data.tiles.level}/${name}.jpg`;
    tiles.set(name, image);
  }
  return tiles.get(name);
}
