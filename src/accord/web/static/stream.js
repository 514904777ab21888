// A page that is kept up to date by server-sent events.

const SILENCE = 50_000; // the server says something every 15 seconds
const AGAIN = 10_000;

// parts: name of an event -> what is done with its content. say: shows a text to the person, or "" when all is well.
// Nothing is asked for while nobody looks.
export function follow(path, parts, say) {
  let source = null;
  let timer = 0;

  function later(milliseconds) {
    clearTimeout(timer);
    timer = setTimeout(open, milliseconds);
  }

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  function open() {
    close();
    if (document.hidden) return;
    const own = (source = new EventSource(path()));
    later(SILENCE);
    for (const [name, show] of Object.entries({ beat: () => {}, ...parts })) {
      own.addEventListener(name, ({ data }) => {
        if (own !== source) return;
        later(SILENCE);
        say("");
        show(JSON.parse(data));
      });
    }
    own.addEventListener("out", () => {
      close();
      say("You are signed out, or no owner any more. Load the page again.");
    });
    own.addEventListener("error", () => {
      if (own !== source) return;
      say("This page is not up to date: the server does not answer, or you are signed out. It is tried again.");
      if (own.readyState === EventSource.CLOSED) later(AGAIN); // else the browser does it
    });
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", ({ persisted }) => persisted && open());
  open();
  return open;
}

// Seconds as h:mm:ss.
export function clock(seconds) {
  const whole = Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

// How far a running step is, in words.
export function progressText({ label, done, total, unit, left, quiet }) {
  const parts = [`${label} ${done.toLocaleString("en")} of ${total.toLocaleString("en")} ${unit}`];
  if (left !== null) parts.push(`${clock(left)} left`);
  if (quiet !== null) parts.push(`no news for ${quiet} min`);
  return parts.join(" · ");
}
