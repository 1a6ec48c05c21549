// Rates results: of one record or of many. What this browser has and the table has not is kept by result, so that the page
// of one record and that of many show the same where the browser lets them.
const { results, others, table } = JSON.parse(byId("data").textContent);
const boxes = results.map((_, n) => document.querySelector(`[data-result="${n}"]`));
const placeOf = (n) => `verimask rating ${JSON.stringify(results[n].id)}`;
const changed = {};
const ratingOf = (n) => changed[n] ?? results[n].rating;
let keeps = true;
function readKept(n) {
  delete changed[n];
  try {
    const pair = JSON.parse(localStorage.getItem(placeOf(n)));
    if (Array.isArray(pair) && pair.length === 2 && pair.every((part) => typeof part === "string") && ["", ...table.values].includes(pair[0])) changed[n] = pair;
  } catch { /* Nothing was kept that can be read. */ }
}
function keep(n) {
  if (String(changed[n]) === String(results[n].rating)) delete changed[n];
  try {
    if (n in changed) localStorage.setItem(placeOf(n), JSON.stringify(changed[n])); else localStorage.removeItem(placeOf(n));
    keeps = true;
  } catch { keeps = false; }
}
function showUnsaved() {
  const count = Object.keys(changed).length, whose = results.length > 1 ? `${count} not` : "Not";
  byId("unsaved").textContent = count ? `${whose} in ${table.name} yet${keeps ? "" : ", and this browser keeps none"}` : "";
  byId("discard").hidden = !count;
}
function showRating(n) {
  const [rating, note] = ratingOf(n), box = boxes[n], field = box.querySelector("[data-note-text]");
  for (const button of box.querySelectorAll("[data-rate]")) button.setAttribute("aria-pressed", button.dataset.rate === rating);
  box.querySelector(".rated").textContent = rating;
  box.querySelector(".noted").textContent = note;
  if (field && inOneLine(field.value) !== note) field.value = note;
}
function rate(n, rating, note = ratingOf(n)[1]) { changed[n] = [rating, note]; keep(n); showRating(n); showUnsaved(); }
function askNote(n) {
  const box = byId("noting"), field = byId("note");
  byId("noting-name").textContent = `Note on ${results[n].id[0]}`;
  field.value = ratingOf(n)[1];
  // On submit, not on close: that comes later, and a table that was saved in between would lack the note.
  box.firstElementChild.onsubmit = ({ submitter }) => { if (submitter.value === "keep") rate(n, ratingOf(n)[0], inOneLine(field.value)); };
  box.showModal();
  field.focus();
}
function save() {
  const rows = results.flatMap(({ id }, n) => { const [rating, note] = ratingOf(n); return rating || note ? [[...id.slice(0, 4), rating, note, id[4]]] : []; });
  saveTable(table.name, [table.columns, ...others, ...rows]);
}
byId("save").onclick = save;
byId("discard").onclick = () => {
  if (!confirm(`Discard what this browser has and ${table.name} has not?`)) return;
  for (const n of Object.keys(changed)) { delete changed[n]; keep(n); showRating(n); }
  showUnsaved();
};
boxes.forEach((box, n) => {
  for (const button of box.querySelectorAll("[data-rate]")) button.onclick = () => rate(n, ratingOf(n)[0] === button.dataset.rate ? "" : button.dataset.rate);
  const ask = box.querySelector("[data-note]"), field = box.querySelector("[data-note-text]");
  if (ask) ask.onclick = () => askNote(n);
  if (field) field.oninput = () => rate(n, ratingOf(n)[0], inOneLine(field.value));
});
function showKept() { results.forEach((_, n) => { readKept(n); keep(n); showRating(n); }); showUnsaved(); }
addEventListener("storage", showKept);
showKept();
