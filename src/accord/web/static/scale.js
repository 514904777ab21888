// Of two responses: which is better, and by how much. One row of buttons from A to B, keys 1 and up.

import { element } from "./elements.js";

const STRENGTHS = ["significantly", "better", "slightly", "negligibly"];
const WORDS = {
  significantly: "significantly better",
  better: "better",
  slightly: "slightly better",
  negligibly: "negligibly better",
};

export class Scale {
  // strengths: whether it is asked by how much. changed: called when something was chosen.
  constructor(place, strengths, changed) {
    const of = (ranks, name) =>
      strengths
        ? STRENGTHS.map((strength) => ({ ranks, strength, label: `${name} is ${WORDS[strength]}` }))
        : [{ ranks, strength: null, label: `${name} is better` }];
    this.options = [
      ...of([1, 2], "A"),
      { ranks: [1, 1], strength: null, label: "Equal" },
      ...of([2, 1], "B").reverse(),
    ];
    this.chosen = null;
    this.buttons = this.options.map((option, at) => {
      const button = element("button", { type: "button", role: "radio", "aria-checked": "false", title: `Key: ${at + 1}` });
      button.append(element("span", { text: option.label }), element("kbd", { text: `${at + 1}`, "aria-hidden": "true" }));
      button.addEventListener("click", () => {
        this.choose(at);
        changed();
      });
      return button;
    });
    place.replaceChildren(...this.buttons);
    place.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!move) return;
      event.preventDefault();
      const at = Math.max(0, this.buttons.indexOf(document.activeElement));
      this.buttons[(at + move + this.buttons.length) % this.buttons.length].focus();
    });
  }

  choose(at) {
    this.chosen = at;
    this.buttons.forEach((button, i) => button.setAttribute("aria-checked", String(i === at)));
  }

  // Whether the key was one of ours.
  key(key) {
    const at = Number(key) - 1;
    if (!this.buttons[at]) return false;
    this.buttons[at].click();
    return true;
  }

  get value() {
    const { ranks, strength } = this.options[this.chosen] ?? {};
    return this.chosen === null ? null : { ranks, strength };
  }

  set value(value) {
    const same = (option) =>
      option.strength === (value?.strength ?? null) && String(option.ranks) === String(value?.ranks);
    const at = this.options.findIndex(same);
    this.choose(at < 0 ? null : at);
  }
}
