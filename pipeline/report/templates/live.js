// The live viewer: the volumes of #live-data in NiiVue, laid out as the page's own views are. Nothing is fetched.
const { Niivue, NVImage, SLICE_TYPE } = globalThis.niivue;
const data = JSON.parse(document.getElementById("live-data").textContent);
const place = document.getElementById("live-place");
const viewer = new Niivue({
  isRadiologicalConvention: data.radiological, sagittalNoseLeft: true, show3Dcrosshair: true, dragAndDropEnabled: false,
  backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 0.4], crosshairWidth: 0.25, crosshairWidthUnit: "percent",
  showAllOrientationMarkers: true, fontColor: [1, 0.88, 0.54, 1], fontMinPx: 15, loadingText: "", logLevel: "error",
});
const four = [SLICE_TYPE.AXIAL, SLICE_TYPE.SAGITTAL, SLICE_TYPE.RENDER, SLICE_TYPE.CORONAL].map((sliceType, n) => (
  { sliceType, position: [(n % 2) / 2 + 0.003, Math.floor(n / 2) / 2 + 0.003, 0.494, 0.494] }));
function show(type) {
  if (type === SLICE_TYPE.MULTIPLANAR) viewer.setCustomLayout(four); else viewer.clearCustomLayout();
  viewer.setSliceType(type);
}
try {
  await viewer.attachToCanvas(document.getElementById("live-canvas"));
  for (const { name, base64, labels } of data.volumes) {
    const image = await NVImage.loadFromBase64({ base64, name });
    if (labels) { image.setColormapLabel(labels); image.opacity = data.volumes.length > 1 ? 0.5 : 1; }
    viewer.addVolume(image);
  }
  viewer.scene.crosshairPos = viewer.mm2frac(data.at);
  show(SLICE_TYPE.MULTIPLANAR);
  viewer.onLocationChange = (at) => {
    const [x, y, z] = at.mm;
    place.textContent = `${x < 0 ? "L" : "R"} ${Math.abs(x).toFixed(1)}  ${y < 0 ? "P" : "A"} ${Math.abs(y).toFixed(1)}  ${z < 0 ? "I" : "S"} ${Math.abs(z).toFixed(1)} mm`;
  };
  viewer.createOnLocationChange();
  document.getElementById("live-view").onchange = (event) => show(Number(event.target.value));
  const opacity = document.getElementById("live-opacity");
  const mask = data.volumes.findIndex((volume) => volume.labels);
  if (opacity) {
    opacity.value = data.volumes.length > 1 ? 0.5 : 1;
    opacity.oninput = () => viewer.setOpacity(mask, Number(opacity.value));
  }
  globalThis.liveViewer = viewer;
} catch (error) {
  place.textContent = "This browser cannot draw the live view (it needs WebGL 2): " + error.message;
}
