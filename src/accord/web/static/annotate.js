// The annotation page: fetches an item, shows it, keeps what is begun, and sends what is said.

import { Activity } from "./activity.js";
import { Outbox } from "./outbox.js";
import { Ranking } from "./ranking.js";
import { Responses, showConversation } from "./responses.js";
import { Scale } from "./scale.js";
import { Refused, send, uuid } from "./server.js";
import { Writer } from "./writer.js";

const { campaign, strengths, safety, live } = document.body.dataset;
const user = document.querySelector('meta[name="user"]').content;
const byId = (id) => document.getElementById(id);
const form = byId("item");
const activity = new Activity();
let item = null; // as the server gave it
let asked = null; // the Scale or Ranking of the item
let responses = null;
let draftTimer = 0;
let undoing = false;
let undoKey = null; // of an undo that the server has not acknowledged
let last = null; // the assignment that was answered last
let told = false; // whether the page says what is missing in the answer

const writer = live === "yes" ? new Writer(campaign, user, (found) => begin(found), (text) => show("problem", text)) : null;

const outbox = new Outbox(`accord.outbox.${user}`, (waiting, error) => {
  const refused = error instanceof Refused && !error.passing;
  const wait = waiting === 1 ? "1 answer waits" : `${waiting} answers wait`;
  show("notice", waiting && error ? `${error.message}: ${wait} in this browser and will be sent.` : "");
  if (refused) show("problem", `An answer was not taken: ${error.message}. It is kept in this browser.`);
});

function show(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

async function next() {
  form.hidden = true;
  await outbox.flush();
  for (;;) {
    try {
      const found = await send("POST", `/api/campaigns/${campaign}/next`);
      if (asksElse(found.asks)) {
        location.reload();
        return;
      }
      show("notice", "");
      showProgress(found.progress);
      if (found.item) begin(found.item);
      else if (live === "yes" && found.progress.open) writer.show(last);
      else finish(found.progress);
      return;
    } catch (error) {
      if (error instanceof Refused && !error.passing) {
        show("problem", `${error.message}.`);
        return;
      }
      show("notice", `${error.message}: trying again.`);
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

// Whether the owner has changed since this page was loaded what is asked.
function asksElse(asks) {
  const yes = (wanted) => (wanted ? "yes" : "no");
  const flags = flagBoxes().map((box) => box.value);
  return strengths !== yes(asks.strengths) || safety !== yes(asks.safety) || JSON.stringify(flags) !== JSON.stringify(asks.flags);
}

function showProgress({ own, answers, wanted }) {
  byId("progress").textContent = `${own} by you · ${answers} of ${wanted}`;
  byId("bar").max = Math.max(wanted, 1);
  byId("bar").value = answers;
}

function finish({ open, answers, wanted }) {
  item = null;
  const why = !open ? "The campaign is closed." : answers >= wanted ? "All answers are in." : "What is left is for others; what one of them skips may come to you.";
  byId("done-text").textContent = why;
  byId("done").hidden = false;
}

function begin(found) {
  item = found;
  writer?.hide();
  byId("done").hidden = true;
  showConversation(byId("conversation"), item.messages);
  const num = item.responses.length;
  responses = new Responses(byId("responses"), item.responses, safety === "yes", changed);
  byId("scale").hidden = num !== 2;
  byId("ranking").hidden = byId("ranking-keys").hidden = num === 2;
  byId("pair-keys").hidden = num !== 2;
  byId("many-keys").hidden = num < 10;
  asked = num === 2 ? new Scale(byId("scale-options"), strengths === "yes", changed) : new Ranking(byId("ranking"), num, changed, (at) => responses.mark(at));
  const kept = newest(read(), item.draft) ?? item.earlier ?? {};
  asked.value = kept;
  responses.value = kept.safe;
  byId("comment").value = kept.comment ?? "";
  for (const box of flagBoxes()) box.checked = (kept.flags ?? []).includes(box.value);
  form.querySelector("details").open = Boolean(kept.comment || kept.flags?.length);
  activity.begin(kept.active_seconds ?? 0);
  byId("skipping").hidden = true;
  byId("reason").value = kept.reason ?? "";
  form.hidden = false;
  scrollTo(0, 0);
  ready();
}

const flagBoxes = () => [...form.querySelectorAll('input[name="flag"]')];
const newest = (one, other) => ((one?.at ?? 0) >= (other?.at ?? 0) ? one : other);

// What is chosen and typed so far.
function state() {
  return {
    ...(asked.value ?? { ranks: asked.ranks ?? null, strength: null }),
    safe: responses.safe,
    flags: flagBoxes().filter((box) => box.checked).map((box) => box.value),
    comment: byId("comment").value,
    reason: byId("reason").value,
  };
}

const draftName = () => `accord.draft.${user}.${item.assignment}`;
const read = () => JSON.parse(localStorage.getItem(draftName()) ?? "null");

// Keeps what is begun: here at once, and on the server soon.
function changed() {
  if (!item) return;
  const draft = { ...state(), active_seconds: activity.read(), at: Date.now() };
  localStorage.setItem(draftName(), JSON.stringify(draft));
  clearTimeout(draftTimer);
  const { assignment } = item;
  draftTimer = setTimeout(() => send("PUT", `/api/assignments/${assignment}/draft`, draft).catch(() => {}), 1000);
  if (told && complete()) {
    told = false;
    show("problem", "");
  }
  ready();
}

const complete = () => asked?.value && responses.value !== null;

function ready() {
  byId("send").setAttribute("aria-disabled", String(!complete()));
  if (asked.ranks) responses.tell(asked.ranks);
}

function post(kind, body) {
  clearTimeout(draftTimer);
  outbox.add(`/api/assignments/${item.assignment}/${kind}`, { key: uuid(), active_seconds: activity.read(), ...body });
  localStorage.removeItem(draftName());
  last = kind === "answer" ? item.assignment : last;
  item = null;
  told = false;
  show("problem", "");
  next();
}

function sendAnswer() {
  if (!item) return;
  if (!complete()) {
    told = true;
    const which = asked.ranks ? "Rank at least two first." : "Choose first which is better.";
    show("problem", asked.value ? `Say first whether it is safe: ${responses.missing.join(", ")}.` : which);
    return;
  }
  const { ranks, strength, safe, flags, comment } = state();
  post("answer", { content: { ranks, strength, safe, flags, comment } });
}

function skip(reason) {
  if (item && reason.trim()) post("skip", { reason: reason.trim() });
  else byId("reason").focus();
}

// One at a time, and with the same key until the server has said that it is done: pressed again, it takes back no more.
async function undo() {
  if (undoing) return;
  undoing = true;
  undoKey ??= uuid();
  try {
    if (item) changed();
    await outbox.flush();
    await send("POST", `/api/campaigns/${campaign}/undo`, { key: undoKey });
    undoKey = null;
    show("problem", "");
  } catch (error) {
    if (error instanceof Refused && !error.passing) undoKey = null;
    show("problem", `${error.message}.`);
    return;
  } finally {
    undoing = false;
  }
  next();
}

function toggle(button, panel) {
  byId(panel).hidden = !byId(panel).hidden;
  byId(button).setAttribute("aria-expanded", String(!byId(panel).hidden));
}

function closePanels() {
  for (const [button, panel] of [["skip", "skipping"], ["guideline-button", "guideline"]]) {
    if (!byId(panel).hidden) toggle(button, panel);
  }
}

function comment() {
  form.querySelector("details").open = true;
  byId("comment").focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  sendAnswer();
});
form.addEventListener("input", changed);
byId("undo").addEventListener("click", undo);
byId("skip").addEventListener("click", () => toggle("skip", "skipping"));
byId("skip-now").addEventListener("click", () => skip(byId("reason").value));
for (const button of document.querySelectorAll(".reason")) button.addEventListener("click", () => skip(button.dataset.reason));
byId("guideline-button").addEventListener("click", () => toggle("guideline-button", "guideline"));
byId("look-again").addEventListener("click", next);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
  const typing = event.target.closest("textarea, input:not([type=checkbox])");
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    if (event.key === "Enter" && event.target.id === "reason") {
      event.preventDefault();
      skip(event.target.value);
    }
    return;
  }
  if (event.key === "Enter" && event.target.closest("button, summary, a") && !event.target.matches(".options button, .bins button, .chip")) return;
  const keys = {
    Enter: sendAnswer,
    s: () => toggle("skip", "skipping"),
    u: undo,
    c: comment,
    g: () => toggle("guideline-button", "guideline"),
    Escape: closePanels,
  };
  // A letter of a response goes before the other meanings of its key, which it has with Shift.
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const other = event.shiftKey && keys[key];
  const ours = item && !other && (asked.key(key) || responses.key(key));
  if (!ours && !keys[key]) return;
  event.preventDefault();
  if (!ours) keys[key]();
});

addEventListener("pagehide", () => item && changed());
next();
