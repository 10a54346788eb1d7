// Where the time of a turn went: moments in milliseconds → bars under each other. See server/timings.py for the moments.

import { element } from "./dom.js";

const STEPS = [
  // [name, from, to, kind]: of `from` and `to` the first moment that is known counts
  ["Silence, until the turn is over", ["zero"], ["committed"], "wait"],
  ["Transcription", ["quiet"], ["words"], "work"],
  ["Transcript, in full", ["committed"], ["transcript"], "work"],
  ["Until the model has a place", ["run"], ["begun"], "wait"],
  ["Language model", ["begun", "run"], ["first_clause", "first_token"], "work"],
  ["Speech", ["first_clause"], ["first_audio"], "work"],
  ["Held back, until the turn is over", ["first_audio"], ["released"], "wait"],
  ["Way to the page", ["sent"], ["heard"], "work"],
];

/** Returns `[{name, start, end, kind}]` in the order of their beginning. */
export function bars(timings) {
  const at = { zero: 0, ...timings };
  const found = [];
  for (const [name, from, to, kind] of STEPS) {
    const start = from.map((each) => at[each]).find((each) => each !== undefined);
    const end = to.map((each) => at[each]).find((each) => each !== undefined);
    if (start !== undefined && end !== undefined && end > start) found.push({ name, start, end, kind });
  }
  return found.sort((a, b) => a.start - b.start);
}

/** What one waits for, in a few words. */
export function summary({ heard, sent, first_token: written, committed }) {
  const since = committed === undefined ? "after you asked" : "after you fell silent";
  const sound = heard ?? sent;
  if (sound !== undefined) return `Heard ${Math.round(sound)} ms ${since}`;
  return written === undefined ? "How long it took" : `First word ${Math.round(written)} ms ${since}`;
}

/** Returns what shows the timings of a turn, and what is counted of it, folded away. */
export function waterfall(timings, counts) {
  const end = Math.max(...Object.values(timings), 1);
  const found = bars(timings);
  const first = Math.min(0, ...found.map((bar) => bar.start));
  const rows = found.map((bar) => row(bar, first, end));
  const details = element("details", { class: "waterfall" }, [
    element("summary", {}, [summary(timings)]),
    element("div", { class: "bars", role: "list", "aria-label": "Where the time went" }, rows),
    element("p", { class: "moments" }, [[...moments(timings), ...numbers(counts)].join(" · ")]),
  ]);
  details.addEventListener("toggle", () => details.open && details.scrollIntoView({ block: "nearest" }));
  return details;
}

function row({ name, start, end, kind }, from, to) {
  const bar = element("span", { class: `bar ${kind}` });
  bar.style.left = `${(100 * (start - from)) / (to - from)}%`;
  bar.style.width = `${Math.max(0.5, (100 * (end - start)) / (to - from))}%`;
  const ms = end - start;
  return element("div", { class: "row", role: "listitem" }, [
    element("span", { class: "name" }, [name]),
    element("span", { class: "ms" }, [`${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`]),
    element("span", { class: "track", "aria-hidden": "true" }, [bar]),
  ]);
}

function moments(timings) {
  const sorted = Object.entries(timings).sort(([, a], [, b]) => a - b);
  return sorted.map(([name, ms]) => `${plain(name)} ${Math.round(ms)}`);
}

function numbers(counts) {
  return Object.entries(counts).map(([name, number]) => `${number} ${plain(name)}`);
}

function plain(name) {
  return name.replaceAll("_", " ");
}
