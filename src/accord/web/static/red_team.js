// The red-team page: a sitting with its clock, attacks, turns, ratings.

import { Activity } from "./activity.js";
import { element } from "./elements.js";
import { Outbox } from "./outbox.js";
import { turnView } from "./ratings.js";
import { Refused, send, uuid } from "./server.js";

const { campaign } = document.body.dataset;
const user = document.querySelector('meta[name="user"]').content;
const byId = (id) => document.getElementById(id);
const api = `/api/campaigns/${campaign}`;
const activity = new Activity();
const kept = `accord.attack.${user}.${campaign}`;
let sitting = null;
let attack = null; // {id, category, vector}
let turns = [];
let turnKey = uuid();

const outbox = new Outbox(`accord.outbox.${user}`, (waiting, error) => {
  if (error instanceof Refused && !error.passing) say("problem", `A rating was not taken: ${error.message}.`);
  say("notice", waiting && error ? `${error.message}: ${waiting} waiting in this browser.` : "");
});

function say(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

async function tried(work) {
  try {
    await work();
    say("problem", "");
  } catch (error) {
    say("problem", `${error.message}.`);
  }
}

byId("begin").addEventListener("click", () =>
  tried(async () => {
    ({ sitting } = await send("POST", `${api}/sittings`, { key: uuid() }));
    activity.begin(0);
    setInterval(tick, 5000);
    byId("warning").hidden = true;
    const before = JSON.parse(localStorage.getItem(kept) ?? "null");
    if (before) await resume(before);
    else byId("choose").hidden = false;
  }),
);

function tick() {
  const seconds = activity.read();
  byId("clock").textContent = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")} active`;
  send("PUT", `/api/sittings/${sitting}/clock`, { active_seconds: seconds }).catch(() => {});
}
addEventListener("pagehide", () => sitting && tick());

byId("choose").addEventListener("submit", (event) => {
  event.preventDefault();
  tried(async () => {
    const kind = { category: byId("category").value, vector: byId("vector").value };
    const made = await send("POST", `${api}/sittings/${sitting}/attacks`, { key: uuid(), ...kind });
    begin({ id: made.attack, ...kind }, []);
  });
});

async function resume(before) {
  try {
    const found = await send("GET", `/api/attacks/${before.id}/turns`);
    byId("text").value = before.text ?? "";
    turnKey = before.key ?? turnKey;
    begin(before, found.turns);
  } catch {
    localStorage.removeItem(kept);
    byId("choose").hidden = false;
  }
}

function begin(made, told) {
  attack = made;
  turns = told;
  byId("choose").hidden = true;
  byId("attack").hidden = false;
  byId("kind").textContent = `${attack.category} · ${attack.vector}`;
  byId("turns").replaceChildren(...turns.map(view));
  keep();
  byId("text").focus();
}

function view(turn) {
  const shown = turnView(turn, rated);
  if (turn.replies.length < 2) return shown;
  const choice = element("p", { className: "hint", text: "Go on with " });
  for (const [place, name] of ["A", "B"].entries()) {
    const radio = element("input", { type: "radio", name: `goes-${turn.turn}`, value: String(place) });
    radio.checked = place === 0;
    choice.append(element("label", { className: "check" }, radio, name));
  }
  shown.append(choice);
  return shown;
}

// null: it was another one before, and is to be finished.
function rated(reply, rating) {
  if (!rating) {
    reply.outcome = null;
    return;
  }
  outbox.add(`/api/replies/${reply.reply}/rating`, { key: uuid(), ...rating });
  Object.assign(reply, rating);
  say("problem", "");
}

function keep() {
  const { id, category, vector } = attack;
  localStorage.setItem(kept, JSON.stringify({ id, category, vector, text: byId("text").value, key: turnKey }));
}
byId("text").addEventListener("input", () => {
  turnKey = uuid();
  keep();
});

byId("another").addEventListener("click", () => {
  if (turns.some((turn) => turn.replies.some((reply) => !reply.outcome))) {
    say("problem", "Rate every reply first: what is not rated counts for nothing.");
    return;
  }
  localStorage.removeItem(kept);
  byId("text").value = "";
  byId("attack").hidden = true;
  byId("choose").hidden = false;
  say("problem", "");
});

byId("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const last = turns.at(-1);
  if (last?.replies.some((reply) => !reply.outcome)) {
    say("problem", "Rate the last reply first.");
    return;
  }
  const chosen = last && document.querySelector(`input[name="goes-${last.turn}"]:checked`);
  const button = byId("ask");
  if (button.disabled) return;
  button.disabled = true;
  button.textContent = "It is writing…";
  say("problem", "");
  tried(async () => {
    const body = { key: turnKey, text: byId("text").value, goes_on: Number(chosen?.value ?? 0) };
    const { turn } = await send("POST", `/api/attacks/${attack.id}/turns`, body);
    turns.push(turn);
    byId("turns").append(view(turn));
    byId("text").value = "";
    turnKey = uuid();
    keep();
    byId("turns").lastElementChild.querySelector(".response").focus();
  }).finally(() => {
    button.disabled = false;
    button.textContent = "Send";
  });
});
byId("begin").disabled = false; // before this module is there, a click would do nothing
