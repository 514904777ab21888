// The owner's page of a campaign.

import { send } from "./server.js";

const { campaign } = document.body.dataset;
const byId = (id) => document.getElementById(id);
const save = (values) => send("PATCH", `/api/campaigns/${campaign}`, values);

function show(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

async function change(values) {
  try {
    await save(values);
    location.reload();
  } catch (error) {
    show("problem", `${error.message}.`);
    scrollTo(0, 0);
  }
}

const open = byId("open");
open?.addEventListener("click", () => change({ open: open.dataset.open === "yes" }));
byId("guideline-form")?.addEventListener("submit", (event) => {
  event.preventDefault();
  change({ guideline: byId("guideline").value });
});

// The settings, and among them those that are not in the form as they were. The page stays: a guideline may be begun.
const form = byId("settings-form");
form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { overlap, num_answers, lease_minutes, gold_every, strengths, safety, flags } = form.elements;
  const settings = {
    ...JSON.parse(form.dataset.settings),
    overlap: overlap.valueAsNumber,
    num_answers: num_answers.value ? num_answers.valueAsNumber : null,
    lease_minutes: lease_minutes.valueAsNumber,
    gold_every: gold_every.valueAsNumber,
    strengths: strengths.checked,
    safety: safety.checked,
    flags: flags.value.split("\n").map((flag) => flag.trim()).filter(Boolean),
  };
  show("settings-problem", "");
  show("settings-saved", "");
  try {
    await save({ settings });
    show("settings-saved", "Saved: it asks so from now on. Load the page again to see its numbers counted anew.");
  } catch (error) {
    show("settings-problem", `${error.message}.`);
  }
});
