// Sorts the table by a click on a heading, and hides the rows that the filters do not ask for.
document.documentElement.classList.add("scripted");
const body = document.querySelector("#rows tbody"), rows = [...body.rows], count = document.getElementById("count");
const chosen = (id) => document.getElementById(id).value;
function filter() {
  const verdict = chosen("by-verdict"), code = chosen("by-code"), name = chosen("by-name").toLowerCase();
  for (const row of rows) {
    const { verdict: its, codes, name: called } = row.dataset;
    row.hidden = (verdict && its !== verdict) || (code && !codes.split(" ").includes(code)) || !called.toLowerCase().includes(name);
  }
  count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
}
for (const id of ["by-verdict", "by-code", "by-name"]) document.getElementById(id).oninput = filter;
const value = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
document.querySelectorAll("#rows thead th").forEach((heading, column) => {
  if (!heading.textContent) return;
  const button = document.createElement("button");
  button.textContent = heading.textContent;
  heading.replaceChildren(button);
  button.onclick = () => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    document.querySelectorAll("#rows th").forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    rows.sort((a, b) => value(a, column).localeCompare(value(b, column), "en", { numeric: true }) * (down ? -1 : 1));
    body.append(...rows);
  };
});
filter();
