// The list of all runs.

import { element } from "./elements.js";
import { follow, progressText } from "./stream.js";

const byId = (id) => document.getElementById(id);

function say(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

function card({ name, state, done, steps, step, now, alarms }) {
  const address = `/runs/${encodeURIComponent(name)}`;
  const title = element("h2", {}, element("a", { text: name, href: address }), " ");
  title.append(element("span", { text: state, className: "tag", "data-state": state }));
  if (alarms) title.append(" ", element("span", { text: alarms === 1 ? "1 alarm" : `${alarms} alarms`, className: "tag alarm" }));
  const where = step && !now ? ` · ${step}` : "";
  const grow = element("div", { className: "grow" }, title, element("p", { text: `${done} of ${steps} steps done${where}`, className: "hint" }));
  if (now) {
    grow.append(element("p", { text: progressText(now), className: "hint" }));
    grow.append(element("progress", { max: Math.max(now.total, 1), value: now.done, "aria-label": `Progress of ${name}` }));
  }
  return element("article", { className: "card row run", "data-run": name }, grow);
}

function show(runs) {
  const focused = document.activeElement?.closest("[data-run]")?.dataset.run;
  byId("runs").replaceChildren(...runs.map(card));
  if (focused) document.querySelector(`[data-run="${CSS.escape(focused)}"] a`)?.focus();
  byId("loading").hidden = true;
  byId("none").hidden = runs.length > 0;
}

follow(() => "/api/runs/events", { runs: show }, say);
