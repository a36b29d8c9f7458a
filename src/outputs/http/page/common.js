// What both pages need: requests, the dialog that asks for the token or the PIN, and the news.

export const $ = (id) => document.getElementById(id);

/** A request that was refused: `message` is the device's reason, `answer` all that it said. */
export class Refused extends Error {
  constructor(status, answer) {
    super(answer.error ?? `The device answered ${status}.`);
    this.status = status;
    this.answer = answer;
  }
}

/** Asks the device; logs in and asks again where it wants that. Nothing is stored here: the session is a cookie that scripts can't read. */
export async function ask(path, options = {}) {
  for (;;) {
    const response = await fetch(path, { cache: "no-store", ...options });
    const text = await response.text();
    const answer = parse(text);
    if (response.ok) return answer;
    if (!answer.needs) throw new Refused(response.status, answer);
    await login(answer.needs);
  }
}

/** `POST` with a body of JSON. */
export const post = (path, body = {}) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

function parse(text) {
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    return {};
  }
}

const WORDS = {
  token: { title: "Token", hint: "The token of this device, as its configuration has it.", mode: "text", refused: "Nothing can be shown without the token." },
  pin: { title: "PIN", hint: "The PIN to change something on this device.", mode: "numeric", refused: "Nothing can be changed without the PIN." },
};

let asking = null;

/** Asks for the token or the PIN until it is right. One dialog at a time. */
function login(what) {
  asking ??= dialog(what).finally(() => (asking = null));
  return asking;
}

function dialog(what) {
  const { title, hint, mode, refused } = WORDS[what];
  const element = make("dialog", { className: "login" });
  const form = make("form", { method: "dialog" });
  const field = make("input", { type: "password", name: what, id: "secret", required: true, inputMode: mode, autocomplete: "current-password" });
  const error = make("p", { className: "error", role: "alert" });
  const cancel = make("button", { type: "button", textContent: "Cancel" });
  const send = make("button", { type: "submit", className: "primary", textContent: "Continue" });
  const actions = make("div", { className: "actions" });
  actions.append(send, cancel);
  form.append(make("label", { htmlFor: "secret", textContent: title }), make("p", { className: "faint", textContent: hint }), field, error, actions);
  element.append(form);
  document.body.append(element);
  element.showModal();
  return new Promise((resolve, reject) => {
    cancel.addEventListener("click", () => element.close());
    element.addEventListener("close", () => reject(new Refused(401, { error: refused })));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const body = JSON.stringify({ [what]: field.value });
        const response = await fetch("/api/login", { method: "POST", headers: { "Content-Type": "application/json" }, body });
        if (!response.ok) throw new Refused(response.status, parse(await response.text()));
        resolve();
        element.close();
      } catch (problem) {
        error.textContent = sentence(problem.message);
        field.select();
      }
    });
  }).finally(() => element.remove());
}

/** The device's words, as they stand alone. */
export const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);

/** An element with these properties; text only ever goes in as text. */
export function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

const NEWS = ["event", "state", "source", "labels", "muted", "lost", "alive"];
// The device sends something every 5 s: after so long the line is dead.
const SILENCE_MS = 12_000;
const RETRY_MS = { min: 1_000, max: 15_000 };

/**
 * Hears the device's news while the page is in sight, and connects again whenever the line breaks.
 * `on.begin(overview)` comes first after each connection, then `on.event`, `on.state`, ..; `on.line(connected)` says how the line is.
 */
export function listen(on) {
  let source = null;
  let silence = 0;
  let retry = 0;
  let wait_ms = RETRY_MS.min;
  let attempt = 0;

  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(broken, SILENCE_MS);
  };
  const close = () => {
    clearTimeout(silence);
    clearTimeout(retry);
    source?.close();
    source = null;
  };
  const broken = () => {
    close();
    on.line(false);
    retry = setTimeout(connect, wait_ms);
    wait_ms = Math.min(wait_ms * 2, RETRY_MS.max);
  };
  const begin = async () => on.begin(await ask("/api/state"));

  async function connect() {
    close();
    attempt += 1;
    const this_attempt = attempt;
    try {
      await begin();
    } catch {
      if (this_attempt === attempt) broken();
      return;
    }
    if (this_attempt !== attempt || document.hidden) return;
    source = new EventSource("/events");
    source.onerror = broken;
    source.onopen = () => {
      wait_ms = RETRY_MS.min;
      heard();
      // What happened between the first look and now.
      begin().then(() => on.line(true), broken);
    };
    for (const name of NEWS) {
      source.addEventListener(name, (message) => {
        heard();
        if (name === "lost") begin().catch(broken);
        else on[name]?.(JSON.parse(message.data));
      });
    }
  }

  // A page out of sight costs the device nothing, and leaves the browser's few connections to others.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : connect()));
  connect();
}
