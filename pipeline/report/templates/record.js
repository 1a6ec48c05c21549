// The page of one record: keys that rate, the current section in the bar of contents, and text that is copied.
addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (!byId("keys").checked || event.ctrlKey || event.metaKey || event.altKey || target.matches("select, textarea, canvas, input:not([type=checkbox])")) return;
  const does = { 1: () => rate(0, "good"), 2: () => rate(0, "doubtful"), 3: () => rate(0, "bad"), 0: () => rate(0, "", ""), n: () => boxes[0].querySelector("[data-note-text]").focus(), s: save }[key];
  if (does) { event.preventDefault(); does(); }
});

// The current section is the last one whose heading has reached the upper third of the window, or the last of all at the end.
const bar = document.querySelector(".contents ul"), links = [...bar.querySelectorAll("a")];
const heads = links.map((link) => byId(link.hash.slice(1)));
let marked = null;
function mark() {
  const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  const reached = heads.findLastIndex((head) => head.getBoundingClientRect().top < innerHeight / 3);
  const link = links[atEnd && scrollY > 0 ? links.length - 1 : Math.max(reached, 0)];
  if (link === marked) return;
  marked?.removeAttribute("aria-current");
  marked = link;
  link.setAttribute("aria-current", "location");
  bar.scrollLeft = link.offsetLeft - bar.offsetLeft - (bar.clientWidth - link.offsetWidth) / 2;
}
let waits = false;
function markSoon() { if (!waits) { waits = true; requestAnimationFrame(() => { waits = false; mark(); }); } }
addEventListener("scroll", markSoon, { passive: true });
addEventListener("resize", markSoon);
mark();

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch { // A page from a file may have no clipboard: the text is selected and copied as a person does.
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
  return true;
}
document.querySelectorAll("[data-copy]").forEach((button) => { button.onclick = async () => {
  const copied = await copy(byId(button.dataset.copy));
  button.nextElementSibling.textContent = copied ? "copied" : "selected: copy it with your keyboard";
}; });
