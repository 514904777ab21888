// Requests to the server, and what can go wrong with them.

const csrf = document.querySelector('meta[name="csrf"]').content;

// The server said no. `status` is HTTP's; the message is for the person.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  // Whether the same request can go through later: also once the person has signed in again.
  get passing() {
    return this.status >= 500 || [401, 403, 429].includes(this.status);
  }
}

// The server was not reached.
export class Offline extends Error {}

// What the server answers, as JSON; null where it answers nothing. Throws Refused, Offline.
export async function send(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Offline("the server cannot be reached");
  }
  if (response.status === 204) return null;
  let content = null;
  try {
    content = await response.json();
  } catch {
    // An answer that was cut off, or another program's.
    if (response.ok) throw new Offline("the answer was cut off");
  }
  if (!response.ok) throw new Refused(response.status, content?.error ?? `the server said ${response.status}`);
  return content;
}

// A random UUID, version 4. crypto.randomUUID is not there on pages that come over plain HTTP from another machine.
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
