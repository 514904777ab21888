// Answers that the server has not acknowledged. They are kept in the browser, and sent until it has; each has a key of
// its own, so that one that arrives twice is stored once.

import { Offline, Refused, send } from "./server.js";

const WAITS = [1, 2, 5, 10, 30]; // seconds between tries

export class Outbox {
  // changed: called with the number of answers that wait, and the last refusal or null.
  constructor(name, changed) {
    this.name = name;
    this.changed = changed;
    this.running = null;
    addEventListener("online", () => this.wake?.());
  }

  // An entry for each, so that two tabs do not write over one another; in the order in which they were added.
  get waiting() {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(`${this.name}.`))
      .map((key) => JSON.parse(localStorage.getItem(key)))
      .sort((one, other) => one.at - other.at);
  }

  // Keeps an answer, and begins to send. It is safe once this returns.
  add(path, body) {
    localStorage.setItem(`${this.name}.${body.key}`, JSON.stringify({ path, body, at: Date.now() }));
    this.changed(this.waiting.length, null);
    this.flush();
  }

  // Sends what waits, in its order. Resolves when nothing does any more.
  flush() {
    this.running ??= this.#run().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  async #run() {
    for (let tries = 0; this.waiting.length > 0; ) {
      const [first] = this.waiting;
      try {
        await send("POST", first.path, first.body);
        this.#remove(first, null);
        tries = 0;
      } catch (error) {
        if (error instanceof Refused && !error.passing) {
          this.#setAside(first, error);
          this.#remove(first, error);
        } else if (error instanceof Offline || error instanceof Refused) {
          this.changed(this.waiting.length, error);
          await this.#pause(WAITS[Math.min(tries++, WAITS.length - 1)]);
        } else {
          throw error;
        }
      }
    }
  }

  // An answer that the server will never take stays readable: nothing that was typed is lost.
  #setAside(one, error) {
    localStorage.setItem(`accord.refused.${one.body.key}`, JSON.stringify({ ...one, why: error.message }));
  }

  #remove(one, error) {
    localStorage.removeItem(`${this.name}.${one.body.key}`);
    this.changed(this.waiting.length, error);
  }

  #pause(seconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, 1000 * seconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
