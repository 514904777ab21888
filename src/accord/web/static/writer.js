// Where a person writes, and two policies answer. What is typed is kept in the browser until they have.

import { send, uuid } from "./server.js";

const byId = (id) => document.getElementById(id);

export class Writer {
  // answered: called with the item that the answers are. failed: called with why there are none, or with nothing.
  constructor(campaign, user, answered, failed) {
    this.path = `/api/campaigns/${campaign}/write`;
    this.name = `accord.text.${user}.${campaign}`;
    this.answered = answered;
    this.failed = failed;
    this.after = null;
    const kept = JSON.parse(localStorage.getItem(this.name) ?? "null");
    this.key = kept?.key ?? uuid();
    byId("text").value = kept?.text ?? "";
    byId("text").addEventListener("input", () => this.#keep());
    byId("write").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
  }

  // after: the assignment whose conversation can go on; null: none.
  show(after) {
    this.after = after;
    byId("go-on-label").hidden = after === null;
    byId("go-on").checked = after !== null;
    byId("write").hidden = false;
    byId("text").focus();
  }

  hide() {
    byId("write").hidden = true;
  }

  // A text that was changed is another one, and has another key.
  #keep() {
    this.key = uuid();
    localStorage.setItem(this.name, JSON.stringify({ key: this.key, text: byId("text").value }));
  }

  async #ask() {
    const button = byId("ask");
    if (button.disabled) return;
    button.disabled = true;
    button.textContent = "They are writing…";
    this.failed("");
    try {
      const after = byId("go-on").checked ? this.after : null;
      const { item } = await send("POST", this.path, { key: this.key, text: byId("text").value, after });
      localStorage.removeItem(this.name);
      byId("text").value = "";
      this.key = uuid();
      this.answered(item);
    } catch (error) {
      this.failed(`${error.message}.`);
    } finally {
      button.disabled = false;
      button.textContent = "Ask";
    }
  }
}
