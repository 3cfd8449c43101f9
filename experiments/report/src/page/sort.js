// Turns the heads of tables into buttons that sort by their column.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const key = (row, column) => {
    const cell = row.cells[column];
    const number = Number(cell.dataset.value ?? cell.textContent);
    return cell.dataset.value !== undefined || !Number.isNaN(number) ? number : cell.textContent;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === typeof b) return a.localeCompare(b);
    return typeof a === "number" ? -1 : 1;
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      // What is not known comes last in either order.
      const known = (row) => row.cells[column].textContent !== "–";
      const rows = [...body.rows].filter(known);
      rows.sort((a, b) => compare(key(a, column), key(b, column)));
      const unknown = [...body.rows].filter((row) => !known(row));
      body.append(...(descending ? rows.reverse() : rows), ...unknown);
    });
  });
}
