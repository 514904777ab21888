// A run as it goes: how far it is, its alarms, curves, samples; and the buttons that stop it and go on with it.

import { curve } from "./curves.js";
import { element } from "./elements.js";
import { send } from "./server.js";
import { clock, follow, progressText } from "./stream.js";

const MOST_SAMPLES = 18; // kept on the page
const byId = (id) => document.getElementById(id);
const { run } = document.body.dataset;
const address = `/api/runs/${encodeURIComponent(run)}`;

let stopping = null; // the process that would be asked to stop
let wanted = new URLSearchParams(location.search).get("step") ?? "";
let unit = "";
let seen = "";

function say(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

function alarm({ step, text, since }) {
  const from = since > 0 ? `, from ${since} on` : "";
  return element("li", {}, element("strong", { text: `${step}${from}: ` }), text);
}

function showRun({ state, by, done, steps, step, now, alarms, stop, resume, why, ended, report }) {
  const tag = byId("state");
  [tag.textContent, tag.dataset.state] = [state, state];
  if (state === "gone") {
    say("about", "There is no such run any more. Should it come back, this page shows it.");
    for (const id of ["now", "stop", "resume", "why", "report"]) byId(id).hidden = true;
    return;
  }
  const end = ended === null || ended === 0 || by ? "" : ` The process that was started from here ended with status ${ended}: see below.`;
  byId("report").hidden = !report;
  say("about", `${done} of ${steps} steps done${by ? `; ${by} works on it` : ""}.${end}`);
  byId("now").hidden = !(step && now);
  if (step && now) {
    unit = now.unit;
    byId("now-text").textContent = progressText(now);
    [byId("now-bar").max, byId("now-bar").value] = [Math.max(now.total, 1), now.done];
  }
  stopping = stop;
  byId("stop").hidden = !stop;
  byId("resume").hidden = !resume;
  say("why", why ? `${why}.` : "");
  byId("alarms").hidden = alarms.length === 0;
  const told = JSON.stringify(alarms);
  if (byId("alarm-list").dataset.told !== told) {
    byId("alarm-list").dataset.told = told; // or a screen reader would say them again
    byId("alarm-list").replaceChildren(...alarms.map(alarm));
  }
}

function stepRow({ name, kind, state, seconds, detail, alarms, shown }) {
  const pick = element("button", { text: name, type: "button", className: "quiet pick", "aria-pressed": String(shown) });
  pick.addEventListener("click", () => choose(wanted === name ? "" : name));
  const tags = [element("span", { text: state, className: "tag", "data-state": state })];
  if (alarms) tags.push(" ", element("span", { text: alarms === 1 ? "1 alarm" : `${alarms} alarms`, className: "tag alarm" }));
  const took = seconds === null ? "" : clock(seconds);
  return element(
    "tr",
    {},
    element("td", {}, pick),
    element("td", { text: kind }),
    element("td", {}, ...tags),
    element("td", { text: took, className: "number" }),
    element("td", { text: detail, className: "hint" }),
  );
}

function showSteps(steps) {
  const focused = document.activeElement?.closest("#steps tr");
  const at = focused ? [...byId("steps").children].indexOf(focused) : -1;
  byId("steps").replaceChildren(...steps.map(stepRow));
  byId("steps").children[at]?.querySelector("button").focus();
}

function showCurves({ step, unit: counted, last, panels }) {
  byId("curves-of").textContent = step === null ? "Curves" : `Curves of ${step}`;
  say("curves-at", last === null ? "" : `${counted} ${last.toLocaleString("en")}`);
  byId("curves-none").hidden = panels.length > 0;
  byId("curves").replaceChildren(...panels.map((panel) => curve(panel, counted)));
}

function sample({ prompt, response, score }, at) {
  const scored = score === null ? "" : ` · score ${score.toFixed(2)}`;
  return element(
    "article",
    { className: "sample" },
    element("p", { text: `after ${at} ${unit}${scored}`, className: "hint" }),
    element("p", { text: prompt, className: "text asked" }),
    element("p", { text: response || "(nothing)", className: response ? "text" : "text empty" }),
  );
}

function showSamples({ at, samples }) {
  const told = JSON.stringify(samples);
  if (!samples.length || told === seen) return;
  seen = told;
  byId("samples-card").hidden = false;
  byId("samples").prepend(...samples.map((one) => sample(one, at)));
  while (byId("samples").children.length > MOST_SAMPLES) byId("samples").lastChild.remove();
}

function showLog(lines) {
  byId("log-card").hidden = lines.length === 0;
  byId("log").textContent = lines.join("\n");
}

async function tried(button, path, body) {
  button.disabled = true;
  say("problem", "");
  try {
    await send("POST", `${address}/${path}`, body);
  } catch (error) {
    say("problem", `${error.message}.`);
  } finally {
    button.disabled = false;
  }
}

let whom = null; // whom the question is about: who works on the run may be another one when it is answered
byId("stop").addEventListener("click", () => {
  whom = stopping;
  if (!whom) return;
  byId("stop-whom").textContent = `Process ${whom.pid} on ${whom.host} is asked to stop, as by Ctrl-C: it saves at its next safe point, and ends. Nothing is lost, and it can be gone on with here.`;
  byId("ask").showModal();
});
byId("ask").addEventListener("close", () => {
  if (byId("ask").returnValue === "stop") tried(byId("stop"), "stop", whom);
  byId("ask").returnValue = "";
});
byId("resume").addEventListener("click", () => tried(byId("resume"), "resume"));

const open = follow(
  () => `${address}/events?step=${encodeURIComponent(wanted)}`,
  { run: showRun, steps: showSteps, curves: showCurves, samples: showSamples, log: showLog },
  (text) => say("stale", text),
);

function choose(name) {
  wanted = name;
  history.replaceState(null, "", name ? `?step=${encodeURIComponent(name)}` : location.pathname);
  open();
}
