// Filters, sorts and rates the cases of a cohort. Text is only ever set as text, never as HTML.
const data = JSON.parse(byId("data").textContent), { cases, table } = data;
let cuts = null; // read when the first details are opened
const body = document.querySelector("#rows tbody"), rows = [...body.rows], keysOn = byId("keys");
const rowOf = []; rows.forEach((row, place) => { rowOf[row.dataset.n] = row; row.dataset.place = place; });
document.querySelectorAll("button:disabled").forEach((button) => { button.disabled = false; });

// Ratings: what this browser changed since ratings.tsv was read, kept where this page lies.
const place = "verimask ratings " + location.pathname;
let changed = {};
const idOf = (n) => JSON.stringify(cases[n].id);
const ratingOf = (n) => changed[idOf(n)] ?? cases[n].rating;
function keep() {
  for (const [n] of cases.entries()) if (String(changed[idOf(n)]) === String(cases[n].rating)) delete changed[idOf(n)];
  let why = "";
  try { localStorage.setItem(place, JSON.stringify(changed)); } catch { why = ", and this browser keeps none"; }
  const count = cases.filter((_, n) => idOf(n) in changed).length;
  byId("unsaved").textContent = count ? `${count} not in ratings.tsv yet${why}` : "";
  byId("discard").hidden = !count;
}
function readKept() {
  try {
    const kept = JSON.parse(localStorage.getItem(place) ?? "{}");
    for (const [id, pair] of Object.entries(kept)) {
      if (Array.isArray(pair) && pair.length === 2 && pair.every((part) => typeof part === "string") && ["", ...table.values].includes(pair[0])) changed[id] = pair;
    }
  } catch { changed = {}; }
}
function showRating(n) {
  const [rating, note] = ratingOf(n), row = rowOf[n];
  const groups = [row.querySelector(".rate"), ...(shownCase === n ? [byId("detail").querySelector(".rate")] : [])];
  for (const button of groups.flatMap((group) => [...group.querySelectorAll("[data-rate]")])) button.setAttribute("aria-pressed", button.dataset.rate === rating);
  row.querySelector(".rated").textContent = rating;
  row.querySelector(".noted").textContent = note;
  if (shownCase === n) byId("detail-body").querySelector(".note-of").textContent = note ? `Note: ${note}` : "";
}
function rate(n, rating, note = ratingOf(n)[1]) { changed[idOf(n)] = [rating, note]; keep(); showRating(n); }
function askNote(n) {
  const box = byId("noting"), field = byId("note");
  byId("noting-name").textContent = `Note on ${titleOf(n)}`;
  field.value = ratingOf(n)[1];
  // On submit, not on close: that comes later, and keys typed in between would meet another case.
  box.firstElementChild.onsubmit = ({ submitter }) => { if (submitter.value === "keep") rate(n, ratingOf(n)[0], inOneLine(field.value)); };
  box.showModal();
  field.focus();
}
function save() {
  const lines = [table.columns, ...data.others];
  cases.forEach(({ id }, n) => { const [rating, note] = ratingOf(n); if (rating || note) lines.push([...id.slice(0, 4), rating, note, id[4]]); });
  saveTable(table.name, lines);
}
byId("save").onclick = save;
byId("discard").onclick = () => { if (confirm("Discard what this browser has and ratings.tsv has not?")) { changed = {}; keep(); cases.forEach((_, n) => showRating(n)); } };

// Filters.
const pressed = new Set();
const chosen = (what) => byId("by-" + what)?.selectedOptions[0] ?? { value: "" };
function fits(row, n, words) {
  const { status, codes, labels, id } = cases[n], [rating, note] = ratingOf(n), label = chosen("label"), wanted = chosen("rating").value;
  return (!pressed.size || pressed.has(row.dataset.group))
    && (!chosen("status").value || status === chosen("status").value) && (!chosen("code").value || codes.includes(chosen("code").value))
    && (!chosen("subject").value || id[1] === chosen("subject").value)
    && (!label.value || labels.includes(label.value) !== ("without" in label.dataset))
    && (!wanted || (wanted === "unrated" ? !rating : wanted === "note" ? !!note : rating === wanted))
    && words.every((word) => row.textContent.toLowerCase().includes(word));
}
function filter() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) row.hidden = !fits(row, Number(row.dataset.n), words);
  const count = rows.filter((row) => !row.hidden).length;
  byId("count").textContent = `${count} of ${rows.length} shown`;
  byId("none").hidden = count > 0;
  if (current?.hidden !== false) enter(visible()[0], false);
}
const visible = () => [...body.rows].filter((row) => !row.hidden);
const filters = ["status", "code", "label", "subject", "rating"].map((what) => byId("by-" + what)).filter(Boolean);
for (const field of [...filters, byId("search")]) field.oninput = filter;
function unfilter() {
  for (const field of [...filters, byId("search")]) field.value = "";
  pressed.clear();
  document.querySelectorAll("[data-group][aria-pressed]").forEach((chip) => chip.setAttribute("aria-pressed", "false"));
  filter();
}
document.querySelectorAll("button[data-group]").forEach((chip) => { chip.onclick = () => {
  const { group } = chip.dataset, on = !pressed.has(group);
  if (on) pressed.add(group); else pressed.delete(group);
  chip.setAttribute("aria-pressed", on);
  filter();
}; });
document.querySelectorAll("[data-without]:is(button)").forEach((button) => { button.onclick = () => {
  unfilter();
  const option = [...byId("by-label").options].find((o) => "without" in o.dataset && o.value === button.dataset.without);
  option.selected = true;
  filter();
  byId("rows").scrollIntoView();
}; });

// Sorting. Equal rows keep the order of the page.
const names = cases.map((one, n) => n), ranks = [...table.values, ""];
const values = {
  name: (row) => names[row.dataset.n], group: (row) => Number(row.dataset.place), masks: (row) => row.cells[3].textContent.trim(),
  ml: (row) => Number(row.dataset.ml), words: (row) => row.cells[5].textContent.trim(),
  rating: (row) => ranks.indexOf(ratingOf(row.dataset.n)[0]),
};
const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
document.querySelectorAll("#rows th[data-by]").forEach((heading) => {
  const button = make("button", heading.textContent, { type: "button" });
  heading.replaceChildren(button);
  button.onclick = () => {
    const down = heading.getAttribute("aria-sort") === "ascending", value = values[heading.dataset.by];
    document.querySelectorAll("#rows th").forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = rows.map((row) => [value(row), row]);
    keyed.sort((a, b) => compare(a[0], b[0]) * (down ? -1 : 1) || a[1].dataset.place - b[1].dataset.place);
    body.append(...keyed.map(([, row]) => row));
  };
});

// The current case.
let current = null, shownCase = null;
function enter(row, focus = true) {
  if (current) { current.tabIndex = -1; current.classList.remove("current"); }
  current = row ?? null;
  if (!current) return;
  current.tabIndex = 0;
  current.classList.add("current");
  if (focus && !byId("detail").open) { current.focus({ preventScroll: true }); current.scrollIntoView({ block: "nearest" }); }
  if (byId("detail").open) showCase(Number(current.dataset.n));
}
function move(step) {
  const all = visible(), at = all.indexOf(current);
  const started = byId("detail").open || body.contains(document.activeElement);
  enter(started ? all[Math.min(Math.max(at + step, 0), all.length - 1)] : current ?? all[0]);
}
const titleOf = (n) => cases[n].id.slice(1, 4).filter(Boolean).join(" ") || cases[n].id[0];
function lead(n) {
  if (!rowOf[n]) return;
  if (rowOf[n].hidden) unfilter();
  enter(rowOf[n]);
  rowOf[n].scrollIntoView({ block: "center" });
}
body.addEventListener("click", ({ target }) => {
  const row = target.closest("tr"), n = Number(row.dataset.n), rating = target.dataset?.rate;
  if (target.closest("a")) return;
  enter(row, !target.closest("button"));
  if (rating) rate(n, ratingOf(n)[0] === rating ? "" : rating);
  else if ("note" in target.dataset) askNote(n);
  else if (!target.closest("button") || target.matches(".open")) { if (!String(getSelection())) showCase(n); }
});
body.addEventListener("focusin", ({ target }) => { const row = target.closest("tr"); if (shownCase === null && row !== current) enter(row, false); });

// Details.
function showCase(n) {
  const box = byId("detail"), one = cases[n];
  cuts ??= JSON.parse(byId("cuts").textContent);
  shownCase = n;
  byId("detail-name").textContent = `${titleOf(n)} · ${one.status}`;
  const pictures = make("div", "", { className: "cuts" });
  for (const [webp, width, height, view, letters] of cuts[n] ?? []) {
    const pane = make("figure", "", { className: "pane" });
    pane.append(make("img", "", { src: webp, width, height, alt: `${view} cut; left is ${letters[0]}, right ${letters[1]}, top ${letters[2]}, bottom ${letters[3]}` }), ...letters.map((letter) => make("span", letter)), make("figcaption", view));
    pictures.append(pane);
  }
  if (!cuts[n] && rowOf[n].querySelector("img")) pictures.replaceWith(make("p", "This page has no room for larger pictures of this case."));
  const columns = data.columns.map((name, at) => [name, at]).filter(([, at]) => one.rows.some((row) => row[at]));
  const list = make("table"), head = make("tr"), wide = make("div", "", { className: "wide" });
  head.append(make("td"), ...["open", ...columns.map(([name]) => name)].map((name) => make("th", name, { scope: "col" })));
  list.append(head);
  one.rows.forEach((row, at) => {
    const line = make("tr"), colour = make("td"), open = make("td");
    if (one.colours[at]) { const swatch = make("span", "", { className: "swatch" }); swatch.style.background = one.colours[at]; colour.append(swatch); }
    for (const [kind, href] of Object.entries(one.links[at])) open.append(make("a", kind, { href }), " ");
    line.append(colour, open, ...columns.map(([name, c]) => make("td", name === "sha256" ? row[c].slice(0, 12) : row[c], { className: row[c].length > 40 ? "long" : "" })));
    list.append(line);
  });
  wide.append(list);
  byId("detail-body").replaceChildren(make("p", "", { className: "note-of" }), ...one.notes.map((note) => make("p", note, { className: "wrong" })), pictures,
    ...(cuts[n] ? [make("p", "Three cuts through the middle of the masks, seen radiologically: the patient's left is on your right.", { className: "soft" })] : []), wide);
  showRating(n);
  if (!box.open) box.showModal();
  box.scrollTop = 0;
}
{
  const box = byId("detail"), tools = box.querySelector(".rate");
  tools.append(...table.values.map((value, n) => { const b = make("button", `${n + 1} ${value}`, { type: "button" }); b.dataset.rate = value; b.onclick = () => rate(shownCase, ratingOf(shownCase)[0] === value ? "" : value); return b; }),
    make("button", "✎ note", { type: "button", onclick: () => askNote(shownCase) }));
  byId("before").onclick = () => move(-1);
  byId("after").onclick = () => move(1);
  byId("close").onclick = () => box.close();
  box.addEventListener("close", () => { shownCase = null; current?.focus(); });
}

// Plots: the nearest point of a click, or the case at its place.
const across = (svg, event, width) => { const box = svg.getBoundingClientRect(); return (event.clientX - box.left) / box.width * width; };
document.querySelectorAll("svg[data-plot]").forEach((svg) => { svg.onclick = (event) => {
  event.preventDefault();
  const link = event.target.closest("a");
  if (link) { lead(Number(link.getAttribute("href").slice(2))); return; }
  const x = across(svg, event, svg.viewBox.baseVal.width), dots = data.dots[svg.dataset.plot];
  lead(dots.reduce((best, dot) => Math.abs(dot[1] - x) < Math.abs(best[1] - x) ? dot : best)[0]);
}; });
document.querySelectorAll("svg[data-presence]").forEach((svg) => { svg.onclick = (event) => lead(Math.min(Math.floor(across(svg, event, cases.length)), cases.length - 1)); });
const follow = () => { const found = /^#c(\d+)$/.exec(location.hash); if (found) lead(Number(found[1])); };
addEventListener("hashchange", follow);

// Keys. They can be switched off, for those who speak to their browser.
addEventListener("keydown", (event) => {
  const { key, target } = event, inside = body.contains(document.activeElement) || byId("detail").open;
  if (!keysOn.checked || event.ctrlKey || event.metaKey || event.altKey || byId("noting").open || target.matches("select, textarea, input:not([type=checkbox])")) return;
  const arrows = inside && { ArrowDown: 1, ArrowUp: -1 }[key], n = current && Number(current.dataset.n);
  const does = {
    j: () => move(1), k: () => move(-1), s: save, "/": () => byId("search").focus(),
    ...(current && { 1: () => rate(n, "good"), 2: () => rate(n, "doubtful"), 3: () => rate(n, "bad"), 0: () => rate(n, "", ""), n: () => askNote(n) }),
    ...(target === current && { Enter: () => showCase(n) }),
  }[key] ?? (arrows && (() => move(arrows)));
  if (does) { event.preventDefault(); does(); }
});

readKept();
keep();
cases.forEach((_, n) => showRating(n));
filter();
follow();
