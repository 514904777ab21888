// The conversation and the responses of an item, and whether each is safe.

import { element, letter } from "./elements.js";

const WHO = { system: "System", user: "User", assistant: "Assistant" };
const SAFE_KEYS = [["q", "w"], ["o", "p"]]; // of two responses: safe, unsafe

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
    this.cards = texts.map((text, at) => this.#card(text, at, texts.length, safety));
    place.replaceChildren(...this.cards);
    place.dataset.num = String(texts.length);
  }

  key(key) {
    if (!this.safe.length || this.safe.length > 2) return false;
    for (const [at, keys] of SAFE_KEYS.entries()) {
      const which = keys.indexOf(key.toLowerCase());
      if (which >= 0) {
        this.#say(at, which === 0);
        return true;
      }
    }
    return false;
  }

  mark(at) {
    this.cards.forEach((card, i) => card.classList.toggle("held", i === at));
    this.cards[at]?.scrollIntoView({ block: "nearest" });
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
      element("h2", { text: letter(at) }),
      element("div", { className: text ? "text" : "text empty", text: text || "(empty)", dir: "auto" }));
    if (safety) card.append(this.#bins(at, num));
    return card;
  }

  #bins(at, num) {
    const row = element("div", { className: "bins", role: "radiogroup", "aria-label": `Is response ${letter(at)} safe` });
    for (const [which, label] of ["Safe", "Unsafe"].entries()) {
      const button = element("button", { type: "button", role: "radio", "aria-checked": "false", className: label.toLowerCase() }, element("span", { text: label }));
      if (num === 2) button.append(element("kbd", { text: SAFE_KEYS[at][which], "aria-hidden": "true" }));
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
