// The live viewer: the volumes of #live-data in NiiVue, laid out as the page's own views are. Nothing is fetched.
// Places and values are worked out here from each file's own affine, so that they hold for blocks that lean, too.
const { Niivue, NVImage, SLICE_TYPE } = globalThis.niivue;
const data = JSON.parse(document.getElementById("live-data").textContent);
const byId = (id) => document.getElementById(id);
const on = (id, event, act) => byId(id)?.addEventListener(event, act);
const room = byId("live-room"), canvas = byId("live-canvas"), lines = byId("live-lines");
const viewer = new Niivue({
  isRadiologicalConvention: data.radiological, sagittalNoseLeft: true, show3Dcrosshair: true, dragAndDropEnabled: false,
  backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 0.4], crosshairWidth: 0.25, crosshairWidthUnit: "percent",
  showAllOrientationMarkers: true, fontColor: [1, 0.88, 0.54, 1], fontMinPx: 15, loadingText: "", logLevel: "error",
  isNearestInterpolation: true, isOrientCube: true, longTouchTimeout: 2e9, clipPlaneColor: [0, 0, 0, 0],
});
const AXIS = { SAGITTAL: 0, CORONAL: 1, AXIAL: 2 };  // the axis of R, A, S that a cut goes across
const four = ["AXIAL", "SAGITTAL", "RENDER", "CORONAL"].map((name, n) => (
  { sliceType: SLICE_TYPE[name], position: [(n % 2) / 2 + 0.003, Math.floor(n / 2) / 2 + 0.003, 0.494, 0.494] }));
const hidden = new Set();
let volumes, mask, image;

// ---- geometry: a volume is { voxels, shape, affine, inverse, slope, intercept, perm }
const apply = (m, p) => [0, 1, 2].map((r) => m[r][0] * p[0] + m[r][1] * p[1] + m[r][2] * p[2] + m[r][3]);
function inverted(m) {
  const [a, b, c] = m, cross = (u, v) => [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
  const columns = [cross(b, c), cross(c, a), cross(a, b)];
  const det = a[0] * columns[0][0] + a[1] * columns[0][1] + a[2] * columns[0][2];
  return [0, 1, 2].map((r) => {
    const row = columns.map((column) => column[r] / det);
    return [...row, -(row[0] * a[3] + row[1] * b[3] + row[2] * c[3])];
  });
}
// NiiVue counts from 0 to 1 along the axes that are nearest to right, front and head: to voxels of the file, and back.
function fracToVoxel(volume, frac) {
  const voxel = [0, 0, 0];
  volume.perm.forEach((signed, axis) => {
    const own = Math.abs(signed) - 1, at = frac[axis] * volume.shape[own] - 0.5;
    voxel[own] = signed > 0 ? at : volume.shape[own] - 1 - at;
  });
  return voxel;
}
function voxelToFrac(volume, voxel) {
  return volume.perm.map((signed) => {
    const own = Math.abs(signed) - 1, at = signed > 0 ? voxel[own] : volume.shape[own] - 1 - voxel[own];
    return (at + 0.5) / volume.shape[own];
  });
}
const mmOf = (frac) => apply(volumes[0].affine, fracToVoxel(volumes[0], frac));
const fracOf = (mm) => voxelToFrac(volumes[0], apply(volumes[0].inverse, mm)).map((f) => Math.min(Math.max(f, 0), 1));
function storedAt(volume, mm) {
  const voxel = apply(volume.inverse, mm).map(Math.round);
  const isIn = (place, shape) => place.every((n, axis) => n >= 0 && n < shape[axis]);
  if (!isIn(voxel, volume.shape) || (volume.within && !isIn(apply(volume.within.inverse, apply(volume.affine, voxel)).map(Math.round), volume.within.shape))) return {};
  const at = voxel[0] + volume.shape[0] * (voxel[1] + volume.shape[1] * voxel[2]);
  return { stored: volume.colour ? [...volume.voxels.slice(3 * at, 3 * at + 3)] : volume.voxels[at] };
}

// ---- what is at a place
const side = (value, [more, less]) => `${value < 0 ? less : more} ${Math.abs(value).toFixed(1)}`;
function write(prefix, mm) {
  const put = (what, text) => { const cell = byId(prefix + what); if (cell) cell.textContent = text; };
  if (!mm) return ["place", "voxel", "value", "label"].forEach((what) => put(what, ""));
  put("place", `${side(mm[0], "RL")}  ${side(mm[1], "AP")}  ${side(mm[2], "SI")} mm`);
  put("voxel", apply(data.inverse, mm).map(Math.round).join(", "));
  if (image) {
    const { stored } = storedAt(image, mm);
    put("value", stored === undefined ? "outside" : Array.isArray(stored) ? stored.join(", ")
      : `${+(stored * image.slope + image.intercept).toPrecision(5)}${data.unit}`);
  }
  if (mask) {
    const { stored } = storedAt(mask, mm);
    put("label", stored === undefined ? "outside" : stored ? `${stored} ${mask.names.get(stored) ?? ""}` : "none");
  }
}
const cross = () => mmOf(viewer.scene.crosshairPos);
function goTo(mm) { viewer.scene.crosshairPos = fracOf(mm); changed(); }
function changed() { viewer.drawScene(); write("live-", cross()); }
function fracUnder(event) {
  const box = canvas.getBoundingClientRect(), dpr = viewer.uiData.dpr;
  const frac = viewer.canvasPos2frac([(event.clientX - box.left) * dpr, (event.clientY - box.top) * dpr]);
  return frac[0] < 0 ? null : [...frac];
}
function tileUnder(event) {
  const box = canvas.getBoundingClientRect(), dpr = viewer.uiData.dpr;
  const tile = viewer.screenSlices[viewer.tileIndex((event.clientX - box.left) * dpr, (event.clientY - box.top) * dpr)];
  return Object.keys(AXIS).find((name) => tile && SLICE_TYPE[name] === tile.axCorSag);
}
// The centroid of a label, or the voxel of it that is nearest to it.
function middleOf(label) {
  const [x, y, z] = apply(mask.inverse, data.centroids[label]), [nx, ny, nz] = mask.shape;
  const weight = [0, 1, 2].map((c) => Math.hypot(...mask.affine.map((row) => row[c])));
  let best = null, least = Infinity;
  for (let k = 0, at = 0; k < nz; k++) for (let j = 0; j < ny; j++) {
    const far = ((k - z) * weight[2]) ** 2 + ((j - y) * weight[1]) ** 2;
    if (far >= least) { at += nx; continue; }
    for (let i = 0; i < nx; i++, at++) {
      if (mask.voxels[at] !== label) continue;
      const all = far + ((i - x) * weight[0]) ** 2;
      if (all < least) { least = all; best = [i, j, k]; }
    }
  }
  return best && apply(mask.affine, best);
}

// ---- stepping, zoom, keys
function step(name, by) {
  const frac = [...viewer.scene.crosshairPos], axis = AXIS[name], count = volumes[0].shape[Math.abs(volumes[0].perm[axis]) - 1];
  const plane = Math.min(Math.max(Math.floor(frac[axis] * count) + by, 0), count - 1);
  frac[axis] = (plane + 0.5) / count;
  viewer.scene.crosshairPos = frac;
  changed();
}
function zoom(by) {
  const [x, y, z, now] = viewer.scene.pan2Dxyzmm, next = Math.min(Math.max(now * by, 1), 32), mm = viewer.frac2mm(viewer.scene.crosshairPos);
  const pan = next === 1 ? [0, 0, 0] : [x, y, z].map((p, axis) => p + (now - next) * mm[axis]);
  viewer.setScale(Math.min(Math.max(viewer.scene.volScaleMultiplier * by, 0.5), 8));
  viewer.setPan2Dxyzmm([...pan, next]);
}
function resetView() {
  viewer.setPan2Dxyzmm([0, 0, 0, 1]);
  viewer.setScale(1);
  viewer.setRenderAzimuthElevation(data.radiological ? 150 : 330, 20);
  goTo(data.at);
}
const axisOf = () => byId("live-axis").value;
// Where an arrow leads in a cut, as axis and sign of R, A, S.
function arrow(key) {
  const name = axisOf(), flip = data.radiological ? -1 : 1, upright = { AXIAL: 1, CORONAL: 2, SAGITTAL: 2 }[name];
  const across = { AXIAL: [0, flip], CORONAL: [0, flip], SAGITTAL: [1, -1] }[name];
  if (key === "ArrowUp" || key === "ArrowDown") return [upright, key === "ArrowUp" ? 1 : -1];
  return [across[0], key === "ArrowRight" ? across[1] : -across[1]];
}
const NAME = ["SAGITTAL", "CORONAL", "AXIAL"];
function press(event) {
  event.stopPropagation();
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const acts = { PageUp: () => step(axisOf(), 1), PageDown: () => step(axisOf(), -1), Escape: () => canvas.blur(),
    "+": () => zoom(1.25), "-": () => zoom(0.8), 0: resetView };
  if (event.key.startsWith("Arrow")) { const [axis, sign] = arrow(event.key); step(NAME[axis], sign); }
  else if (acts[event.key]) acts[event.key]();
  else return;
  event.preventDefault();
}

// ---- window and level
const win = { start: null };
function setWindow(low, high, own = true) {
  if (!(high > low)) high = low + data.leastWidth;
  const shown = volumes[0].nv;
  shown.cal_min = low; shown.cal_max = high;
  viewer.updateGLVolume();
  smooth();
  const put = (id, value) => { byId(id).value = +value.toPrecision(5); };
  for (const more of ["", "-number"]) { put(`live-level${more}`, (low + high) / 2); put(`live-width${more}`, high - low); }
  if (own) byId("live-own").selected = true;
}
const getWindow = () => [volumes[0].nv.cal_min, volumes[0].nv.cal_max];
function setLevel(level, width) { setWindow(level - width / 2, level + width / 2); }
function prepareWindow() {
  const [low, high] = data.range, span = Math.max(high - low, data.leastWidth);
  for (const [id, min, max] of [["live-level", low, high], ["live-width", 0, 2 * span]]) Object.assign(byId(id), { min, max, step: "any" });
  const reset = () => { byId("live-preset").selectedIndex = 0; setWindow(...data.window, false); };
  reset();
  const read = (more) => () => setLevel(Number(byId(`live-level${more}`).value), Number(byId(`live-width${more}`).value));
  for (const what of ["level", "width"]) { on(`live-${what}`, "input", read("")); on(`live-${what}-number`, "change", read("-number")); }
  on("live-preset", "change", (event) => { if (event.target.value) setWindow(...event.target.value.split(" ").map(Number), false); });
  on("live-window-reset", "click", reset);
  room.addEventListener("pointerdown", (event) => {
    if (event.button !== 2) return;
    const [a, b] = getWindow();
    win.start = [event.clientX, event.clientY, (a + b) / 2, b - a];
    room.setPointerCapture(event.pointerId);
  });
  room.addEventListener("pointermove", (event) => {
    if (!win.start) return;
    const [x, y, level, width] = win.start, per = Math.max(width, span / 200) / 200;
    setLevel(level + (event.clientY - y) * per, Math.max(width + (event.clientX - x) * per, data.leastWidth));
  });
  for (const end of ["pointerup", "pointercancel"]) room.addEventListener(end, () => { win.start = null; });
}
// Labels are never smoothed; the image is where that is asked for.
function smooth() { viewer.updateInterpolation(0, Boolean(image && byId("live-smooth")?.checked)); viewer.drawScene(); }

// ---- outlines, along the edges of the file's voxels
const traced = new Map();
function trace(axis, plane) {
  const key = `${axis} ${plane}`;
  if (traced.has(key)) return traced.get(key);
  const [a, b] = [0, 1, 2].filter((n) => n !== axis), strides = [1, mask.shape[0], mask.shape[0] * mask.shape[1]];
  const wide = mask.shape[a], tall = mask.shape[b], paths = new Map();
  const at = (x, y) => (x < 0 || y < 0 || x >= wide || y >= tall ? 0 : mask.voxels[plane * strides[axis] + x * strides[a] + y * strides[b]]);
  const edge = (label, x1, y1, x2, y2) => {
    if (!label) return;
    if (!paths.has(label)) paths.set(label, new Path2D());
    const path = paths.get(label);
    path.moveTo(x1, y1); path.lineTo(x2, y2);
  };
  for (let y = 0; y <= tall; y++) for (let x = 0; x <= wide; x++) {
    const here = at(x, y), left = at(x - 1, y), above = at(x, y - 1);
    if (here !== left) { edge(here, x - 0.5, y - 0.5, x - 0.5, y + 0.5); edge(left, x - 0.5, y - 0.5, x - 0.5, y + 0.5); }
    if (here !== above) { edge(here, x - 0.5, y - 0.5, x + 0.5, y - 0.5); edge(above, x - 0.5, y - 0.5, x + 0.5, y - 0.5); }
  }
  if (traced.size > 60) traced.clear();
  traced.set(key, paths);
  return paths;
}
function drawLines() {
  if (lines.width !== canvas.width || lines.height !== canvas.height) { lines.width = canvas.width; lines.height = canvas.height; }
  const pen = lines.getContext("2d");
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, lines.width, lines.height);
  if (!mask || !image || !byId("live-outline").checked) return;
  const here = apply(mask.inverse, cross());
  viewer.screenSlices.forEach((tile, n) => {
    if (tile.axCorSag > 2 || tile.AxyzMxy.length < 4) return;
    const [left, top, width, height] = tile.leftTopWidthHeight;
    const voxelAt = (x, y) => {
      const frac = [...viewer.screenXY2TextureFrac(x, y, n, false)];
      return apply(mask.inverse, mmOf(frac));
    };
    const x0 = left + width / 4, y0 = top + height / 4, x1 = left + width * 3 / 4, y1 = top + height * 3 / 4;
    const o = voxelAt(x0, y0), u = voxelAt(x1, y0).map((v, c) => (v - o[c]) / (x1 - x0)), v = voxelAt(x0, y1).map((w, c) => (w - o[c]) / (y1 - y0));
    const axis = [0, 1, 2].reduce((best, c) => Math.abs(u[c]) + Math.abs(v[c]) < Math.abs(u[best]) + Math.abs(v[best]) ? c : best, 0);
    const [a, b] = [0, 1, 2].filter((c) => c !== axis), plane = Math.round(here[axis]);
    const det = u[a] * v[b] - u[b] * v[a];
    if (!det || plane < 0 || plane >= mask.shape[axis]) return;
    // Canvas from voxel, the inverse of voxel from canvas.
    const m = [v[b] / det, -u[b] / det, -v[a] / det, u[a] / det];
    const matrix = new DOMMatrix([m[0], m[1], m[2], m[3], x0 - m[0] * o[a] - m[2] * o[b], y0 - m[1] * o[a] - m[3] * o[b]]);
    pen.save();
    pen.beginPath(); pen.rect(Math.min(left, left + width), top, Math.abs(width), height); pen.clip();
    for (const [label, path] of trace(axis, plane)) {
      if (hidden.has(label)) continue;
      const drawn = new Path2D();
      drawn.addPath(path, matrix);
      for (const [style, thick] of [["#000c", 3.4], [mask.colours.get(label) ?? "#fff", 1.8]]) {
        pen.strokeStyle = style; pen.lineWidth = thick * viewer.uiData.dpr; pen.stroke(drawn);
      }
    }
    pen.restore();
  });
}

// ---- labels
function paintLabels() {
  const table = data.volumes.find((one) => one.labels).labels;
  const shown = { ...table };  // as a background, a mask has no opacity in the cuts: there, what is hidden is black
  for (const channel of "RGBA") shown[channel] = table[channel].map((value, n) => (hidden.has(table.I[n]) ? 0 : value));
  mask.nv.setColormapLabel(shown);
  viewer.updateGLVolume();
  smooth();
}
function prepareLabels() {
  const boxes = [...document.querySelectorAll("#live-labels [data-label]")];
  const read = () => { hidden.clear(); for (const box of boxes) if (!box.checked) hidden.add(Number(box.dataset.label)); paintLabels(); };
  byId("live-labels").addEventListener("change", read);
  for (const [id, checked] of [["live-all", true], ["live-none", false]])
    on(id, "click", () => { for (const box of boxes) box.checked = checked; read(); });
  document.addEventListener("click", (event) => {
    const go = event.target.closest?.("[data-go], .legend a[data-label]");
    const mm = go && data.centroids[go.dataset.go ?? go.dataset.label] && middleOf(Number(go.dataset.go ?? go.dataset.label));
    if (!mm) return;
    goTo(mm);
    if (go.dataset.go) return;
    event.preventDefault();
    room.scrollIntoView({ block: "nearest" });
  });
}

// ---- the page scrolls past the picture until it is clicked into
const isActive = () => document.activeElement === canvas;
function guard() {
  const stop = (event) => { if (!isActive()) event.stopPropagation(); };
  for (const name of ["touchstart", "touchmove", "touchend"]) room.addEventListener(name, stop, { capture: true, passive: true });
  room.addEventListener("wheel", (event) => {
    event.stopPropagation();
    if (!isActive() && !event.ctrlKey) return;
    event.preventDefault();
    const name = tileUnder(event);
    if (name) step(name, event.deltaY < 0 ? 1 : -1); else zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1);
  }, { capture: true, passive: false });
  for (const name of ["keydown", "keyup"]) room.addEventListener(name, name === "keydown" ? press : (event) => event.stopPropagation(), true);
  for (const name of ["dblclick", "contextmenu"]) room.addEventListener(name, (event) => { event.preventDefault(); event.stopPropagation(); }, true);
  room.addEventListener("mousedown", (event) => {
    if (event.button === 2) { event.preventDefault(); event.stopPropagation(); return; }
    canvas.focus({ preventScroll: true });
  }, true);
  room.addEventListener("pointerdown", (event) => { const name = tileUnder(event); if (name) byId("live-axis").value = name; }, true);
  room.addEventListener("click", (event) => {
    if (isActive()) return;
    canvas.focus({ preventScroll: true });  // the first touch: a mouse has the focus already
    const frac = fracUnder(event);
    if (frac) { viewer.scene.crosshairPos = frac; changed(); }
  });
  room.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    const frac = fracUnder(event);
    write("live-pointer-", frac && mmOf(frac));
  });
  room.addEventListener("pointerleave", () => write("live-pointer-", null));
}

async function load() {
  await viewer.attachToCanvas(canvas);
  volumes = [];
  for (const { name, base64, labels, affine, colour, within } of data.volumes) {
    const nv = await NVImage.loadFromBase64({ base64, name });
    if (labels) nv.setColormapLabel(labels);
    viewer.addVolume(nv);
    const volume = { nv, voxels: nv.img, shape: [...nv.hdr.dims.slice(1, 4)], affine, inverse: inverted(affine), perm: [...nv.permRAS],
      slope: nv.hdr.scl_slope || 1, intercept: nv.hdr.scl_inter, colour, within };
    if (labels) {
      mask = volume;
      mask.names = new Map(labels.I.map((value, n) => [value, labels.labels[n]]));
      mask.colours = new Map(labels.I.map((value, n) => [value, `rgb(${labels.R[n]}, ${labels.G[n]}, ${labels.B[n]})`]));
    } else image = volume;
    volumes.push(volume);
  }
  const draw = viewer.drawScene.bind(viewer);
  viewer.drawScene = (...args) => { const made = draw(...args); drawLines(); return made; };
  viewer.onLocationChange = () => write("live-", cross());
  // In three dimensions the mask is alone: a plane that clips all of the image leaves it.
  const clip = () => viewer.setClipPlane(image && mask && !byId("live-body").checked ? [-2, 0, 0] : [2, 0, 0]);
  const fill = () => { viewer.overlayAlphaShader = Number(byId("live-opacity").value); viewer.drawScene(); };
  const show = (name) => {
    if (name === "MULTIPLANAR") viewer.setCustomLayout(four); else { viewer.clearCustomLayout(); if (name in AXIS) byId("live-axis").value = name; }
    viewer.setSliceType(SLICE_TYPE[name]);
  };
  guard();
  if (mask) prepareLabels();
  if (data.window) prepareWindow();
  if (byId("live-opacity")) { on("live-opacity", "input", fill); fill(); on("live-body", "change", clip); on("live-outline", "change", drawLines); }
  clip();
  on("live-smooth", "change", smooth);
  on("live-view", "change", (event) => show(event.target.value));
  on("live-back", "click", () => step(axisOf(), -1));
  on("live-on", "click", () => step(axisOf(), 1));
  on("live-smaller", "click", () => zoom(0.8));
  on("live-larger", "click", () => zoom(1.25));
  on("live-reset", "click", resetView);
  show("MULTIPLANAR");
  resetView();
  smooth();
  globalThis.liveViewer = viewer;
}
try {
  await load();
} catch (error) {
  byId("live-place").textContent = "This browser cannot draw the live view (it needs WebGL 2): " + error.message;
  room.hidden = true;
}
