// The page to edit the labels.

import { $, ask, listen, make, post, sentence } from "/common.js";

const text = $("text");
let loaded = "";
let label_set = "";
let busy = false;
// Set while the outcome of a roll-back is awaited.
let rolling_back = 0;
const ROLLBACK_MS = 120_000;

const is_changed = () => text.value !== loaded;

async function load() {
  const labels = await ask("/api/labels");
  loaded = labels.text;
  text.value = labels.text;
  label_set = labels.label_set;
  text.disabled = false;
  show_lines();
  refresh();
}

const counted = (count) => (count === 1 ? "1 label" : `${count} labels`);

function show_in_use(count) {
  $("in-use").textContent = `${counted(count)} in use`;
}

/** Buttons that can be pressed now. */
function refresh() {
  $("save").disabled = busy || !is_changed();
  $("discard").disabled = busy || !is_changed();
  $("rollback").disabled = busy;
  $("save").textContent = busy ? "Working …" : "Save";
}

function show_lines() {
  const count = text.value.split("\n").length;
  if (Number($("lines").dataset.count) !== count) {
    $("lines").dataset.count = count;
    $("lines").textContent = Array.from({ length: count }, (_, index) => index + 1).join("\n");
  }
  follow();
}

/** Keeps line numbers and mark beside the text. */
function follow() {
  $("lines").style.transform = `translateY(${-text.scrollTop}px)`;
  $("mark").style.setProperty("--scroll", `${text.scrollTop}px`);
}

function show_outcome(kind, words, { warnings = [], line = null } = {}) {
  $("outcome").hidden = false;
  $("outcome").dataset.kind = kind;
  $("outcome-text").textContent = words;
  $("warnings").replaceChildren(...warnings.map((warning) => make("li", { textContent: warning })));
  $("go").hidden = line === null;
  $("go").onclick = () => go_to(line);
  $("mark").hidden = line === null;
  $("mark").style.setProperty("--line", (line ?? 1) - 1);
  if (line !== null) go_to(line);
}

function go_to(line) {
  const lines = text.value.split("\n");
  const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  text.focus();
  text.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  const height = parseFloat(getComputedStyle(text).lineHeight);
  text.scrollTop = Math.max(0, (line - 4) * height);
  follow();
}

function show_report(report) {
  if (report.accepted) {
    const doubts = report.warnings.length > 0 ? " Some of it is doubtful:" : "";
    show_outcome(doubts ? "warning" : "fine", `In use now: ${counted(report.labels)}.${doubts}`, report);
  } else {
    const where = report.line ? `Line ${report.line}: ` : "";
    show_outcome("error", where ? where + report.error : sentence(report.error), report);
  }
}

async function work(action) {
  busy = true;
  refresh();
  try {
    await action();
  } catch (problem) {
    if (problem.answer && "accepted" in problem.answer) show_report(problem.answer);
    else show_outcome("error", sentence(problem.message));
  }
  busy = false;
  refresh();
}

async function save() {
  const sent = text.value;
  show_outcome("busy", "The device is taking the labels in …");
  const report = await ask("/api/labels", { method: "PUT", body: sent, headers: { "Content-Type": "text/plain; charset=utf-8" } });
  loaded = sent;
  label_set = report.label_set;
  show_in_use(report.labels);
  show_report(report);
}

async function roll_back() {
  // Before it is asked for: the outcome may come before the answer.
  clearTimeout(rolling_back);
  rolling_back = setTimeout(() => (rolling_back = 0), ROLLBACK_MS);
  show_outcome("busy", "The device goes back to the set before …");
  await post("/api/labels/rollback");
}

/** Someone changed the labels, or tried to: this page, another one, a program. */
async function hear(report) {
  show_in_use(report.labels);
  if (busy && report.origin === "http") return;
  if (rolling_back) {
    clearTimeout(rolling_back);
    rolling_back = 0;
    if (report.accepted) await load();
    show_report(report);
  } else if (report.accepted && report.label_set !== label_set) {
    if (is_changed()) {
      show_outcome("warning", `The labels were changed meanwhile (${report.origin}). Saving replaces that.`);
    } else {
      await load();
      show_outcome("fine", `The labels were changed (${report.origin}).`);
    }
  }
}

$("editor").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!busy && is_changed()) work(save);
});
$("discard").addEventListener("click", () => {
  text.value = loaded;
  $("outcome").hidden = true;
  $("mark").hidden = true;
  show_lines();
  refresh();
});
$("rollback").addEventListener("click", () => work(roll_back));
text.addEventListener("input", () => {
  $("mark").hidden = true;
  show_lines();
  refresh();
});
text.addEventListener("scroll", follow);
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "s") {
    event.preventDefault();
    $("editor").requestSubmit();
  }
});
addEventListener("beforeunload", (event) => is_changed() && event.preventDefault());

listen({
  begin: (overview) => {
    show_in_use(overview.state.regions[0]?.labels.length ?? 0);
    return text.disabled ? load() : undefined;
  },
  line: (connected) => ($("offline").hidden = connected),
  labels: (report) => hear(report).catch((problem) => show_outcome("error", problem.message)),
});
