// Of more than two responses: a row for each rank, into which letters are dragged, or put by keys: the letter, then the
// rank; 0 takes it out again. Several in one row are equal, and what is in none is not ranked.

import { element, letter } from "./elements.js";

const SOON = 1000; // milliseconds within which two digits are one number

export class Ranking {
  // changed: called when a letter has moved. picked: called with the place of the response that is held, or null.
  constructor(place, num, changed, picked) {
    this.ranks = Array(num).fill(null);
    this.held = null;
    this.typedAt = -SOON;
    this.changed = changed;
    this.picked = picked;
    const names = ["Best", ...Array(num - 1).fill("")];
    this.rows = [null, ...this.ranks.keys()].map((at) => (at === null ? this.#row(0, "Not ranked") : this.#row(at + 1, names[at])));
    this.chips = this.ranks.map((_, i) => this.#chip(i));
    const [none, ...ranked] = this.rows;
    const help = element("p", { className: "hint", text: "Drag each letter to its rank, or click the letter and then the rank. Letters in one row are equal." });
    place.replaceChildren(element("h2", { text: "Rank them" }), help, ...ranked, none);
    this.#show();
  }

  // A response stays held after its rank, so that it can be given another one.
  key(key) {
    const at = key.length === 1 ? key.charCodeAt(0) - 97 : -1;
    if (at >= 0 && at < this.chips.length) {
      this.#hold(at);
      return true;
    }
    if (this.held === null || !/^\d$/.test(key)) return false;
    const rank = this.#typed(Number(key));
    if (rank > this.ranks.length) return false;
    this.#put(this.held, rank);
    this.chips[this.held].focus({ preventScroll: true }); // it has moved
    return true;
  }

  // The rank that a digit means: 2 soon after 1 is 12, where there are so many.
  #typed(digit) {
    const now = performance.now();
    const both = 10 * this.ranks[this.held] + digit;
    const soon = now - this.typedAt < SOON;
    this.typedAt = now;
    return soon && both <= this.ranks.length ? both : digit;
  }

  get value() {
    return this.ranks.filter((rank) => rank !== null).length < 2 ? null : { ranks: [...this.ranks], strength: null };
  }

  set value(value) {
    if (value?.ranks?.length === this.ranks.length) this.ranks = [...value.ranks];
    this.#show();
  }

  #row(rank, name) {
    const row = element("div", { className: "rank", role: "group", "aria-label": rank ? `Rank ${rank}` : name });
    row.append(element("span", { className: "rank-name", text: rank ? `${rank} ${name}`.trim() : name }), element("span", { className: "chips" }));
    row.addEventListener("dragover", (event) => {
      event.preventDefault();
      row.classList.add("over");
    });
    row.addEventListener("dragleave", () => row.classList.remove("over"));
    row.addEventListener("drop", (event) => {
      event.preventDefault();
      row.classList.remove("over");
      const at = Number(event.dataTransfer.getData("text/plain"));
      if (Number.isInteger(at) && this.chips[at]) this.#drop(at, rank);
    });
    row.addEventListener("click", (event) => {
      if (!event.target.closest(".chip") && this.held !== null) this.#drop(this.held, rank);
    });
    return row;
  }

  #chip(at) {
    const chip = element("button", { type: "button", className: "chip", draggable: "true", text: letter(at), "aria-label": `Response ${letter(at)}` });
    chip.addEventListener("dragstart", (event) => {
      event.dataTransfer.setData("text/plain", String(at));
      event.dataTransfer.effectAllowed = "move";
    });
    chip.addEventListener("click", () => this.#hold(at));
    return chip;
  }

  #hold(at) {
    this.held = at;
    this.typedAt = -SOON;
    this.#show();
    this.chips[at].focus({ preventScroll: true });
    this.picked(at);
  }

  // By the pointer: a click on another row would move it again, if it stayed held.
  #drop(at, rank) {
    this.held = null;
    this.picked(null);
    this.#put(at, rank);
  }

  #put(at, rank) {
    this.ranks[at] = rank || null;
    this.#show();
    this.changed();
  }

  #show() {
    for (const [at, chip] of this.chips.entries()) {
      chip.setAttribute("aria-pressed", String(at === this.held));
      const row = this.rows[this.ranks[at] ?? 0].querySelector(".chips");
      if (chip.parentElement !== row) row.append(chip);
    }
  }
}
