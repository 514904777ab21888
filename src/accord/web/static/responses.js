// The conversation and the responses of an item, and whether each is safe.

import { element, letter } from "./elements.js";

const WHO = { system: "System", user: "User", assistant: "Assistant" };
const PAIR_KEYS = [["q", "w"], ["o", "p"]]; // of two responses: safe, unsafe
const HELD_KEYS = ["+=", "-"]; // of more, of the one that is held; = is + without Shift on many keyboards

export function showConversation(place, messages) {
  place.replaceChildren(
    ...messages.map((one) =>
      element("article", { className: `turn ${one.role}` },
        element("h2", { text: WHO[one.role] ?? one.role }),
        element("div", { className: "text", text: one.text, dir: "auto" })),
    ),
  );
}

export class Responses {
  // safety: whether it is asked if they are safe. changed: called when that was answered.
  constructor(place, texts, safety, changed) {
    this.safe = safety ? texts.map(() => null) : [];
    this.changed = changed;
    this.held = null;
    this.cards = texts.map((text, at) => this.#card(text, at, texts.length, safety));
    place.replaceChildren(...this.cards);
    place.dataset.num = String(texts.length);
  }

  // Whether the key was one of ours.
  key(key) {
    for (const at of this.safe.keys()) {
      const keys = this.safe.length === 2 ? PAIR_KEYS[at] : at === this.held ? HELD_KEYS : [];
      const which = keys.findIndex((some) => some.includes(key));
      if (which >= 0) {
        this.#say(at, which === 0);
        return true;
      }
    }
    return false;
  }

  // at: the place of the response that is held, or null.
  mark(at) {
    this.held = at;
    this.cards.forEach((card, i) => card.classList.toggle("held", i === at));
    this.cards[at]?.scrollIntoView({ block: "nearest" });
  }

  // Writes beside the letter of each what was said of it, as its place in the ranking may be out of sight.
  tell(ranks) {
    for (const [at, card] of this.cards.entries()) {
      const safe = { true: "safe", false: "unsafe" }[this.safe[at]];
      const text = [ranks[at] && `rank ${ranks[at]}`, safe].filter(Boolean).join(", ");
      const said = card.querySelector("[role=status]");
      if (said.textContent !== text) said.textContent = text;
    }
  }

  // The letters of those of which it was not said whether they are safe.
  get missing() {
    return this.safe.flatMap((said, at) => (said === null ? [letter(at)] : []));
  }

  get value() {
    return this.safe.includes(null) ? null : [...this.safe];
  }

  set value(safe) {
    if (safe?.length !== this.safe.length) return;
    safe.forEach((said, at) => this.#show(at, said));
  }

  #card(text, at, num, safety) {
    const card = element("article", { className: "card response", "aria-label": `Response ${letter(at)}` },
      element("div", { className: "named" }, element("h2", { text: letter(at) }), element("span", { className: "hint", role: "status" })),
      element("div", { className: text ? "text" : "text empty", text: text || "(empty)", dir: "auto" }));
    if (safety) card.append(this.#bins(at, num));
    return card;
  }

  #bins(at, num) {
    const row = element("div", { className: "bins", role: "radiogroup", "aria-label": `Is response ${letter(at)} safe` });
    for (const [which, label] of ["Safe", "Unsafe"].entries()) {
      const button = element("button", { type: "button", role: "radio", "aria-checked": "false", className: label.toLowerCase() }, element("span", { text: label }));
      const [key] = (num === 2 ? PAIR_KEYS[at] : HELD_KEYS)[which];
      button.append(element("kbd", { text: key, "aria-hidden": "true" }));
      button.addEventListener("click", () => this.#say(at, which === 0));
      row.append(button);
    }
    return row;
  }

  #say(at, safe) {
    this.#show(at, safe);
    this.changed();
  }

  #show(at, safe) {
    this.safe[at] = safe;
    const [yes, no] = this.cards[at].querySelectorAll(".bins button");
    yes.setAttribute("aria-checked", String(safe === true));
    no.setAttribute("aria-checked", String(safe === false));
  }
}
