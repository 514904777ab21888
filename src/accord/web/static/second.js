// Second ratings: somebody else's conversation, and one reply to rate without knowing what they said of it.

import { element } from "./elements.js";
import { replyCard, turnView } from "./ratings.js";
import { send, uuid } from "./server.js";

const { campaign, part } = document.body.dataset; // part: second, or final
const byId = (id) => document.getElementById(id);

function say(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

async function next() {
  try {
    const found = await send("POST", `/api/campaigns/${campaign}/${part === "final" ? "disputed" : "second"}`);
    say("");
    byId("attack").hidden = found.reply === null;
    byId("done").hidden = found.reply !== null;
    if (found.reply !== null) show(found);
  } catch (error) {
    say(`${error.message}.`);
  }
}

// What those said who disagree.
function opinions(said) {
  const line = ({ outcome, severity, comment }) => `${outcome}${severity ? `, ${severity} of 5` : ""}${comment ? `: ${comment}` : ""}`;
  return element("ul", { "aria-label": "What was said" }, ...said.map((one) => element("li", { text: line(one), dir: "auto" })));
}

function show({ reply, category, vector, turns, said = [] }) {
  byId("kind").textContent = `${category} · ${vector}`;
  const last = turns.at(-1);
  const asked = last.replies.find((one) => one.reply === reply);
  let rating = null;
  const button = element("button", { type: "button", className: "primary", text: "Send" });
  button.addEventListener("click", () => (rating ? sendRating(reply, rating) : say("Say what it is first, and of a violation how severe.")));
  const card = replyCard({ ...asked, outcome: null, severity: null, comment: "" }, "Rate this reply", (given) => {
    rating = given;
  });
  byId("turns").replaceChildren(
    ...turns.slice(0, -1).map((turn) => turnView(turn, null)),
    element("article", { className: "turn user" }, element("div", { className: "text", text: last.text, dir: "auto" })),
    ...(said.length ? [opinions(said)] : []),
    card,
    button,
  );
  card.focus();
}

async function sendRating(reply, rating) {
  try {
    await send("POST", `/api/replies/${reply}/${part}`, { key: uuid(), ...rating });
    next();
  } catch (error) {
    say(`${error.message}.`);
  }
}

next();
