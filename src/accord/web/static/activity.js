// How long somebody was active: the page is in front, and a key or the pointer was used within the last minute.

const IDLE = 60_000;

export class Activity {
  constructor() {
    this.seconds = 0;
    this.last = performance.now();
    for (const name of ["pointerdown", "pointermove", "keydown", "scroll"]) {
      addEventListener(name, () => this.#used(), { passive: true, capture: true });
    }
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#count();
      else this.last = performance.now();
    });
    this.used = performance.now();
  }

  begin(seconds) {
    this.seconds = seconds;
    this.last = this.used = performance.now();
  }

  // Seconds until now, to a tenth.
  read() {
    if (!document.hidden) this.#count();
    return Math.round(10 * this.seconds) / 10;
  }

  #used() {
    this.#count();
    this.used = performance.now();
  }

  #count() {
    const now = performance.now();
    const until = Math.min(now, this.used + IDLE);
    if (until > this.last) this.seconds += (until - this.last) / 1000;
    this.last = now;
  }
}
