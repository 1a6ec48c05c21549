// What every page does: tables that can be scrolled by keys, folded parts that are open in print, and a table that is saved.
document.documentElement.classList.add("scripted");
const byId = (id) => document.getElementById(id);
const make = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

const scrollers = new ResizeObserver((seen) => { for (const { target } of seen) target.toggleAttribute("tabindex", false), target.scrollWidth > target.clientWidth && (target.tabIndex = 0); });
document.querySelectorAll(".wide, pre").forEach((box) => scrollers.observe(box));

// Browsers that print what a style sheet unfolds need no help; the others do.
let folded = [];
addEventListener("beforeprint", () => { folded = [...document.querySelectorAll("details:not([open])")]; for (const one of folded) one.open = true; });
addEventListener("afterprint", () => { for (const one of folded) one.open = false; folded = []; });

// lines: of fields. Tabs and quotes inside a field are kept as a table in TSV keeps them; what a spreadsheet would take for a
// formula gets an apostrophe in front, as core/table_cells.py has it.
const isFormula = (text) => /^'*[=+\-@"＝＋－＠]/.test(text) && !/^('*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-])$/.test(text);
const quoted = (text) => /["\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
const cell = (text) => quoted(isFormula(text) ? `'${text}` : text);
function saveTable(name, lines) {
  const text = lines.map((line) => line.map(cell).join("\t") + "\n").join("");
  const link = make("a", "", { href: URL.createObjectURL(new Blob([text], { type: "text/tab-separated-values" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
const inOneLine = (text) => text.replace(/\s+/g, " ").trim();
