// A click on the head of a column sorts its table, a second one the other way round.
for (const table of document.querySelectorAll("table")) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      const value = (row) => {
        const cell = row.cells[column];
        return cell.dataset.order === undefined ? cell.textContent.trim() : Number(cell.dataset.order);
      };
      const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => (rising ? 1 : -1) * compare(value(a), value(b)));
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      body.append(...rows);
    });
  });
}
