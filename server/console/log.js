// The raw events, newest last. Bounded; a run of the same kind of sound is one line.

import { element } from "./dom.js";

const MOST = 400;
const MERGED = 12; // so far back a line of sound is looked for
const LONG = 120; // characters of base64 that are worth showing

const SOUND = new Set(["input_audio_buffer.append", "response.output_audio.delta"]);

export class Log {
  #list;
  #count;
  #entries = [];
  #filter = "";
  #paused = false;
  #begun = performance.now();

  constructor(list, count) {
    this.#list = list;
    this.#count = count;
  }

  /** Notes an event. `direction`: "in" from the server, "out" to it. */
  add(direction, event) {
    if (this.#paused) return;
    const run = this.#run(event.type);
    if (run !== undefined) {
      run.times += 1;
      run.event = event;
      run.shown.replaceChildren(` ×${run.times}`);
      return;
    }
    const entry = { at: performance.now() - this.#begun, direction, type: event.type, event, times: 1 };
    entry.line = this.#line(entry);
    this.#entries.push(entry);
    this.#show(entry);
    if (this.#entries.length > MOST) this.#entries.shift().line.remove();
    this.#tell();
  }

  /** Shows only events whose type or content has this in it. */
  filter(text) {
    this.#filter = text.trim().toLowerCase();
    for (const entry of this.#entries) entry.line.hidden = !this.#passes(entry);
    this.#tell();
  }

  /** The list has come into view. */
  shown() {
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  pause(paused) {
    this.#paused = paused;
  }

  clear() {
    this.#entries = [];
    this.#list.replaceChildren();
    this.#tell();
  }

  /** What is shown, a line of JSON for each event; sound is left out. */
  text() {
    const shown = this.#entries.filter((entry) => this.#passes(entry));
    return shown.map(({ at, direction, event }) => JSON.stringify({ ms: Math.round(at), direction, event: brief(event) })).join("\n");
  }

  /** The line that more sound of a type is counted in: nothing but sound, and the words to it, has come since. */
  #run(type) {
    if (!SOUND.has(type)) return undefined;
    for (const entry of this.#entries.slice(-MERGED).reverse()) {
      if (entry.type === type) return entry;
      if (!SOUND.has(entry.type) && !entry.type.endsWith(".delta")) return undefined;
    }
    return undefined;
  }

  #line(entry) {
    const outward = entry.direction === "out";
    entry.shown = element("span", { class: "times" });
    const summary = element("summary", {}, [
      element("span", { class: "at" }, [(entry.at / 1000).toFixed(2)]),
      element("span", { class: "way", title: outward ? "to the server" : "from the server" }, [outward ? "↑" : "↓"]),
      element("span", { class: "unseen" }, [outward ? "sent " : "received "]),
      element("span", { class: "type" }, breakable(entry.type ?? "?")),
      entry.shown,
    ]);
    const line = element("details", { class: `event ${entry.direction}` }, [summary]);
    if (entry.type === "error") line.classList.add("grave");
    line.addEventListener("toggle", () => {
      if (line.open) line.append(element("pre", { tabindex: "0" }, [JSON.stringify(brief(entry.event), null, 2)]));
      else line.querySelector("pre")?.remove();
    });
    return line;
  }

  #show(entry) {
    const following = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 60;
    entry.line.hidden = !this.#passes(entry);
    this.#list.append(entry.line);
    if (following) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #passes({ event, type }) {
    if (!this.#filter) return true;
    return `${type} ${SOUND.has(type) ? "" : JSON.stringify(brief(event))}`.toLowerCase().includes(this.#filter);
  }

  #tell() {
    const shown = this.#entries.filter((entry) => !entry.line.hidden).length;
    this.#count.replaceChildren(shown === this.#entries.length ? `${shown}` : `${shown} of ${this.#entries.length}`);
  }
}

/** A name that may be broken after its dots and lines. */
function breakable(name) {
  return String(name).split(/(?<=[._])/).flatMap((part) => [part, element("wbr")]);
}

/** An event without the sound in it. */
function brief(value, key = "") {
  if (typeof value === "string") {
    const sound = key === "audio" || key === "delta";
    return sound && value.length > LONG && /^[A-Za-z0-9+/=]+$/.test(value) ? `… ${value.length} characters of base64` : value;
  }
  if (Array.isArray(value)) return value.map((each) => brief(each, key));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, brief(each, name)]));
}
