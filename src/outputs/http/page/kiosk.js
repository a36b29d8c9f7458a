// The page for a screen on the wall.

import { $, listen } from "/common.js";

const NONE = "none";
const UNKNOWN = "unknown";
const EVENTS_MAX = 50;
// Bars of each region, by the number of regions, and pixels that one may take of the page.
const BARS_MAX = [10, 10, 5, 4];
const BARS_MIN = 3;
const PIXELS_OF_BAR = 90;

const SOURCES = {
  opening: ["Camera is opening", "", ""],
  live: ["Live", "", ""],
  silent: ["No picture", "No picture from the camera", "It is open, but sends nothing."],
  lost: ["Camera lost", "Camera lost", "Trying to open it again."],
  quiet: ["Quiet hours", "", ""],
  ended: ["Ended", "", ""],
};

const MEASURED_PX = 100;
const measure = document.createElement("canvas").getContext("2d");
measure.font = `800 ${MEASURED_PX}px ${getComputedStyle(document.body).fontFamily}`;

let events = [];
let last_ms = 0;
let source_state = "opening";
let pictures = true;
let connected = false;

const clock_time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const wall_time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day_time = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

function time_of(ms) {
  const time = new Date(ms);
  const is_today = time.toDateString() === new Date().toDateString();
  return (is_today ? clock_time : day_time).format(time);
}

const percent = (score) => `${Math.round(score * 100)} %`;
const shown = (label) => (label === NONE ? "none of these" : label);

function show_text(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const is_blind = () => SOURCES[source_state][1] !== "";

function show_source(state) {
  const [short, title, text] = SOURCES[state];
  const changed = state !== source_state;
  source_state = state;
  $("source").dataset.state = state;
  show_text($("source-text"), short);
  document.body.dataset.source = state;
  $("lost").hidden = !is_blind();
  show_text($("lost-title"), title);
  show_text($("lost-text"), last_ms > 0 ? `Last picture at ${time_of(last_ms)}. ${text}` : text);
  if (changed && state === "live") start_picture();
  show_picture();
}

function show_state(state) {
  last_ms = state.unix_ms;
  show_text($("device"), state.device || "edgeclip");
  show_source(state.source_state);
  document.title = is_blind() ? `⚠ ${SOURCES[source_state][1]}` : `${answers(state)} · ${state.device}`;
  $("muted").hidden = !state.muted;
  const rate = state.source_state === "live" ? `${state.frames_per_second.toFixed(1)} frames/s` : "";
  show_text($("rate"), rate);
  show_regions(state.regions);
}

const active = (region) => region.labels.filter((label) => label.active).sort((a, b) => b.score - a.score);
const answer = (region) => active(region).map((label) => label.label).join(" + ") || shown(NONE);
const answers = (state) => state.regions.map(answer).join(", ");

function show_regions(regions) {
  const home = $("regions");
  while (home.children.length > regions.length) home.lastElementChild.remove();
  while (home.children.length < regions.length) home.append($("region").content.cloneNode(true));
  home.dataset.count = Math.min(regions.length, 3);
  regions.forEach((region, index) => show_region(home.children[index], region, regions.length));
}

function show_region(element, region, count) {
  const title = element.querySelector("h2");
  title.hidden = !region.region;
  show_text(title, region.region ?? "");
  const line = element.querySelector(".answer");
  // What was seen last is no answer once nothing is seen.
  const text = is_blind() ? UNKNOWN : answer(region);
  line.style.setProperty("--em", width_of(text));
  line.classList.toggle("none", is_blind() || active(region).length === 0);
  show_text(line, text);
  const fitting = Math.floor(innerHeight / PIXELS_OF_BAR);
  show_bars(element, region, Math.max(BARS_MIN, Math.min(BARS_MAX[count] ?? BARS_MIN, fitting)));
}

/** How wide a text is in one line, or in two or three where it is long, in units of its size. */
function width_of(text) {
  const width = (words) => measure.measureText(words).width / MEASURED_PX;
  const all = width(text);
  const longest_word = Math.max(...text.split(" ").map(width));
  return all <= 5 ? Math.max(all, 2) : Math.max(longest_word, Math.min(all / 2 + 1, all / 3 + 2));
}

/** The labels in the set's order while all fit; otherwise the best ones. */
function show_bars(element, region, bars_max) {
  let labels = region.labels;
  if (labels.length > bars_max) {
    labels = [...labels].sort((a, b) => b.active - a.active || b.score - a.score).slice(0, bars_max);
  }
  const list = element.querySelector(".bars");
  const rows = labels.length + (region.background > 0 ? 1 : 0);
  list.style.setProperty("--rows", rows);
  while (list.children.length > rows) list.lastElementChild.remove();
  while (list.children.length < rows) list.append($("bar").content.cloneNode(true));
  labels.forEach((label, index) => show_bar(list.children[index], label.label, label.score, label.active));
  if (rows > labels.length) {
    show_bar(list.lastElementChild, shown(NONE), region.background, false);
  }
  [...list.children].forEach((row, index) => row.classList.toggle("background", index >= labels.length));
  const more = element.querySelector(".more");
  more.hidden = labels.length === region.labels.length;
  show_text(more, `The best of ${region.labels.length} labels`);
}

function show_bar(row, name, score, is_active) {
  show_text(row.querySelector(".name"), name);
  show_text(row.querySelector(".percent"), percent(score));
  row.querySelector(".fill").style.transform = `translateX(${Math.min(Math.max(score, 0), 1) * 100 - 100}%)`;
  row.classList.toggle("active", is_active);
}

const key = (event) => [event.time, event.region, event.label, event.state].join("\n");

function show_events() {
  $("no-events").hidden = events.length > 0;
  $("events").replaceChildren(...events.map(event_row));
}

function event_row(event) {
  const row = $("event").content.cloneNode(true);
  const time = row.querySelector("time");
  time.dateTime = event.time;
  time.textContent = time_of(Date.parse(event.time));
  row.querySelector(".name").textContent = shown(event.label);
  const where = event.region ? ` · ${event.region}` : "";
  const did = event.state === "enter" ? `began · ${percent(event.score)}` : "ended";
  row.querySelector(".what").textContent = did + where;
  row.firstElementChild.dataset.state = event.state;
  return row;
}

// The picture.

const image = $("live");
let picture_retry = 0;
let picture_number = 0;
let has_picture = false;

/** The picture, or why there is none. */
function show_picture() {
  const is_quiet = source_state === "quiet";
  image.hidden = is_quiet || !has_picture;
  $("waiting").hidden = !image.hidden;
  show_text($("waiting"), is_quiet ? "The camera is off during quiet hours" : "Waiting for a picture");
}

function start_picture() {
  clearTimeout(picture_retry);
  if (!pictures || document.hidden || !connected) return;
  picture_number += 1;
  image.src = `/stream.mjpg?${picture_number}`;
}

function stop_picture() {
  clearTimeout(picture_retry);
  image.removeAttribute("src");
  has_picture = false;
  show_picture();
}

image.addEventListener("load", () => {
  has_picture = true;
  show_picture();
});
image.addEventListener("error", () => {
  if (!image.hasAttribute("src")) return;
  clearTimeout(picture_retry);
  picture_retry = setTimeout(start_picture, 3_000);
});
document.addEventListener("visibilitychange", () => document.hidden && stop_picture());

function show_line(is_connected) {
  const changed = connected !== is_connected;
  connected = is_connected;
  $("offline").hidden = is_connected;
  document.body.classList.toggle("cut-off", !is_connected);
  if (changed && is_connected) start_picture();
  if (!is_connected) stop_picture();
}

function show_clock() {
  show_text($("clock"), wall_time.format(new Date()));
  setTimeout(show_clock, 1_000);
}

function begin(overview) {
  pictures = overview.pictures;
  document.body.classList.toggle("no-pictures", !pictures);
  events = overview.recent;
  image.alt = `Live picture from ${overview.state.source}`;
  show_state(overview.state);
  show_events();
}

show_clock();
// After the page itself: a stream that waits for its first picture would hold up its loading.
addEventListener("load", () =>
  listen({
    begin,
    line: show_line,
    state: show_state,
    source: show_source,
    muted: (muted) => ($("muted").hidden = !muted),
    event: (event) => {
      if (events.some((other) => key(other) === key(event))) return;
      events = [event, ...events].slice(0, EVENTS_MAX);
      show_events();
    },
  }),
);
