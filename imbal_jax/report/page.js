"use strict";
// A click on a table's header sorts by that column: numbers as numbers, empty cells last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...body.rows].map((row) => [row.cells[head.cellIndex].dataset.v, row]);
    const numbers = rows.every(([value]) => value === "" || !Number.isNaN(Number(value)));
    rows.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      return (up ? 1 : -1) * (numbers ? a - b : a.localeCompare(b, undefined, { numeric: true }));
    });
    body.append(...rows.map(([, row]) => row));
  });
}
// The slider walks through the sample grids kept during training.
for (const slider of document.querySelectorAll(".samples input[type=range]")) {
  const section = slider.closest("section");
  const grids = section.querySelectorAll("figure");
  const show = () => {
    grids.forEach((grid, i) => { grid.hidden = i !== Number(slider.value); });
    section.querySelector("output").textContent = grids[slider.value].dataset.name;
  };
  slider.addEventListener("input", show);
  show(); // a browser may have kept the slider's place over a reload
}
