// Sorting and filtering. The page is whole without it: what it needs to be used is made here.
"use strict";

function valueOf(row, column) {
  const cell = row.cells[column];
  const number = Number(cell.dataset.sort);
  return cell.dataset.sort === undefined || Number.isNaN(number) ? cell.textContent.trim() : number;
}

function compare(one, other) {
  return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
}

function sortBy(table, column, heading) {
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = Array.from(table.tBodies[0].rows, (row) => [valueOf(row, column), row]);
  rows.sort((one, other) => compare(one[0], other[0]) * (down ? -1 : 1));
  table.tBodies[0].append(...rows.map((each) => each[1]));
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sorter";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, column, heading));
    heading.append(button);
  });
}

function filterCustomers(words, onlyProblems) {
  for (const row of document.querySelectorAll("#fleet tbody tr")) {
    const text = row.textContent.toLowerCase();
    const shown = words.every((word) => text.includes(word)) && (!onlyProblems || row.dataset.problems !== "0");
    row.hidden = !shown;
    const section = document.getElementById(row.dataset.section);
    if (section) section.hidden = !shown;
  }
}

const tools = document.getElementById("tools");
if (tools) {
  const search = document.createElement("input");
  search.type = "search";
  search.id = "search";
  const label = document.createElement("label");
  label.append("Show customers with ", search);
  const only = document.createElement("input");
  only.type = "checkbox";
  only.id = "only";
  const onlyLabel = document.createElement("label");
  onlyLabel.append(only, " only those with a problem or a notice");
  const refresh = () => filterCustomers(search.value.toLowerCase().split(/\s+/).filter(Boolean), only.checked);
  search.addEventListener("input", refresh);
  only.addEventListener("change", refresh);
  tools.append(label, onlyLabel);
  tools.hidden = false;
}
