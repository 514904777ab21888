// The owner's page of a campaign.

import { send } from "./server.js";

const { campaign } = document.body.dataset;

async function change(values) {
  try {
    await send("PATCH", `/api/campaigns/${campaign}`, values);
    location.reload();
  } catch (error) {
    const problem = document.getElementById("problem");
    problem.textContent = `${error.message}.`;
    problem.hidden = false;
    scrollTo(0, 0);
  }
}

const open = document.getElementById("open");
open?.addEventListener("click", () => change({ open: open.dataset.open === "yes" }));
document.getElementById("guideline-form")?.addEventListener("submit", (event) => {
  event.preventDefault();
  change({ guideline: document.getElementById("guideline").value });
});
