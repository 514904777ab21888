"use strict";
// Search, filter and sort the samples of the page. All of them are there without it.
const box = document.getElementById("samples");
const list = box.querySelector("ol");
const rows = [...list.children];
const texts = rows.map((row) => row.textContent.toLowerCase());
const [search, step, policy, order, shown] = ["search", "step", "policy", "order", "shown"].map((name) =>
  document.getElementById(`samples-${name}`),
);

function change(row) {
  return row.dataset.change === "" ? null : Number(row.dataset.change);
}

function compare(a, b) {
  const [x, y] = [change(a), change(b)];
  if (x === null || y === null) return (x === null) - (y === null); // those without a score stand last
  return order.value === "rose" ? y - x : x - y;
}

function show() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let num = 0;
  rows.forEach((row, at) => {
    const fits =
      (step.value === "" || row.dataset.step === step.value) &&
      (policy.value === "" || row.dataset.policy === policy.value) &&
      words.every((word) => texts[at].includes(word));
    row.hidden = !fits;
    num += fits;
  });
  list.append(...(order.value === "given" ? rows : [...rows].sort(compare)));
  shown.textContent = `${num} of ${rows.length} shown`;
}

for (const control of [search, step, policy, order]) control.addEventListener("input", show);
document.getElementById("samples-controls").hidden = false;
show();
