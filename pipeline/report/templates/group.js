// Sorts the table by a click on a heading, and hides the rows that the filters do not ask for.
const body = document.querySelector("#rows tbody"), rows = [...body.rows], count = byId("count");
const chosen = (id) => byId(id).value;
function filter() {
  const verdict = chosen("by-verdict"), code = chosen("by-code"), name = chosen("by-name").toLowerCase(), wanted = chosen("by-rating");
  for (const row of rows) {
    const { verdict: its, codes, name: called, result } = row.dataset, [rating, note] = ratingOf(result);
    row.hidden = (verdict && its !== verdict) || (code && !codes.split(" ").includes(code)) || !called.toLowerCase().includes(name)
      || (wanted && !(wanted === "unrated" ? !rating : wanted === "note" ? note : rating === wanted));
  }
  count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
}
for (const id of ["by-verdict", "by-code", "by-name", "by-rating"]) byId(id).oninput = filter;
const value = (row, column) => column === 6 ? String([...table.values, ""].indexOf(ratingOf(row.dataset.result)[0])) : row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
document.querySelectorAll("#rows thead th").forEach((heading, column) => {
  if (heading.matches(".plain")) return;
  const button = make("button", heading.textContent, { type: "button" });
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
