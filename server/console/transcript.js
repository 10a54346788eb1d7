// The conversation as one reads it.

import { element } from "./dom.js";
import { textOf } from "./conversation.js";
import { waterfall } from "./waterfall.js";

const NEAR_END = 80; // pixels: whoever has scrolled up to read is left there
const READ_AT = 0.6; // of the height: where the words stand that are being spoken
const LONG = 180; // characters: so much is shown of what was not heard

export class Transcript {
  #list;
  #announce;
  #rows = new Map();
  #announced = new Set();
  #following = true;
  #put = 0;
  #onAnswer;

  /**
   * @param {HTMLElement} list where turns are shown
   * @param {HTMLElement} announce what is read aloud to those who do not see the page
   * @param {(turn: object, output: string) => void} onAnswer the user has answered a call of a tool
   */
  constructor(list, announce, onAnswer) {
    this.#list = list;
    this.#announce = announce;
    this.#onAnswer = onAnswer;
    this.#scroller.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
      if (Math.abs(scrollTop - this.#put) > 2) this.#following = scrollHeight - scrollTop - clientHeight < NEAR_END;
    });
  }

  get #scroller() {
    return this.#list.parentElement;
  }

  /** Shows a turn, or what has become of it. */
  show(turn) {
    let row = this.#rows.get(turn.id);
    if (row === undefined) {
      row = { line: element("li", { id: turn.id, class: `turn ${turn.role}` }) };
      this.#rows.set(turn.id, row);
      this.#list.append(row.line);
    }
    row.line.dataset.state = turn.state ?? "";
    if (turn.role === "user") this.#user(row, turn);
    else if (turn.role === "assistant") this.#assistant(row, turn);
    else if (turn.role === "tool") this.#tool(row, turn);
    else this.#note(row, turn);
    this.#read(turn);
    if (this.#following) this.#follow(row.line);
  }

  clear() {
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#following = true;
  }

  /** Keeps the words in view that are spoken now, or the end. */
  #follow(line) {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const ahead = line.querySelector(".ahead")?.getClientRects()[0];
    const end = scrollHeight - clientHeight;
    const here = this.#scroller.getBoundingClientRect().top + clientHeight * READ_AT;
    this.#scroller.scrollTop = ahead === undefined ? end : Math.min(end, scrollTop + ahead.top - here);
    this.#put = this.#scroller.scrollTop;
  }

  #user({ line }, turn) {
    let words = turn.text;
    if (turn.state === "done" && !words) words = "(nothing understood)";
    if (turn.state === "failed") words = `${words} (${turn.problem})`;
    const going = turn.state === "speaking" || turn.state === "heard";
    const text = element("p", { class: "words" }, [words, ...(going ? [dots()] : [])]);
    line.replaceChildren(element("div", { class: "said" }, [name("You"), text]));
  }

  #assistant(row, turn) {
    // Words come many times a second: what is unfolded below them stays as it is.
    if (row.said === undefined) {
      row.said = element("div", { class: "said" });
      row.line.append(row.said);
    }
    const remarks = turn.state === "cut" ? [element("p", { class: "remark" }, [remark(turn)])] : [];
    row.said.replaceChildren(name("Parley"), element("p", { class: "words" }, words(turn)), ...remarks);
    if (turn.timings !== null && turn.timings !== row.shown) {
      const timings = waterfall(turn.timings, turn.counts);
      timings.open = row.timings?.open ?? false;
      row.timings?.remove();
      row.line.append(timings);
      Object.assign(row, { timings, shown: turn.timings });
      if (turn.timings.heard !== undefined) row.line.dataset.heardAfter = Math.round(turn.timings.heard);
    }
    if (turn.stoppedAfter !== undefined) row.line.dataset.stoppedAfter = turn.stoppedAfter;
  }

  #tool({ line }, turn) {
    const call = element("code", { class: "call" }, [`${turn.name}(${compact(turn.arguments)})`]);
    if (turn.state === "done") {
      const output = element("code", { class: "output" }, [turn.output]);
      const words = element("p", { class: "words" }, [call, element("span", {}, [" → "]), output]);
      line.replaceChildren(element("div", { class: "said" }, [name("Tool"), words]));
    } else if (line.querySelector("form") === null) {
      const words = element("p", { class: "words" }, [call]);
      line.replaceChildren(element("div", { class: "said" }, [name("Tool"), words, this.#form(turn)]));
    }
  }

  /** Asks the user for what a call gives that nothing in this page can answer. */
  #form(turn) {
    const field = element("input", { type: "text", "aria-label": `What ${turn.name} returns`, autocomplete: "off" });
    field.placeholder = "What it returns";
    const form = element("form", { class: "answer" }, [field, element("button", { type: "submit" }, ["Answer"])]);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#onAnswer(turn, field.value);
    });
    return form;
  }

  #note({ line }, turn) {
    line.classList.toggle("grave", turn.grave);
    line.replaceChildren(element("p", {}, [turn.text]));
  }

  /** Says a turn that is complete, once. */
  #read(turn) {
    if (turn.role === "tool" || !["done", "cut", undefined].includes(turn.state) || this.#announced.has(turn.id)) return;
    this.#announced.add(turn.id);
    const who = { user: "You: ", assistant: "Parley: ", note: "" }[turn.role];
    this.#announce.replaceChildren(`${who}${textOf(turn)}`);
  }
}

function name(text) {
  return element("span", { class: "name" }, [text]);
}

function dots() {
  return element("span", { class: "dots", role: "img", "aria-label": "still listening" }, ["…"]);
}

/** A reply's words: heard, still to be heard, or never heard. */
function words(turn) {
  if (turn.heard !== null) {
    const all = textOf(turn);
    const heard = all.slice(0, lengthOf(turn.heard, all));
    const lost = all.slice(heard.length);
    const unheard = element("del", { title: lost }, [element("span", { class: "unseen" }, [" (not heard:) "]), short(lost)]);
    return [heard, ...(lost.trim() ? [unheard] : [])];
  }
  const ahead = turn.pieces.findIndex((piece) => piece.at !== null && piece.at > turn.played);
  const pieces = turn.pieces.map((piece) => piece.text);
  if (ahead < 0) return [pieces.join("")];
  return [pieces.slice(0, ahead).join(""), element("span", { class: "ahead" }, [pieces.slice(ahead).join("")])];
}

/** How much of a text its beginning is, where that may have other spaces; 0 where it is no beginning of it. */
function lengthOf(beginning, text) {
  let at = 0;
  for (const letter of beginning.replace(/\s/g, "").split("")) {
    while (at < text.length && /\s/.test(text[at])) at++;
    if (text[at++] !== letter) return 0;
  }
  return at;
}

/** The beginning of a long text, to the end of a word. */
function short(text) {
  return text.length <= LONG ? text : `${text.slice(0, LONG).replace(/\s+\S*$/, "")} …`;
}

function remark({ stoppedAfter, problem }) {
  if (problem !== undefined) return `Cut off: ${problem}.`;
  return stoppedAfter === undefined ? "Interrupted." : `Interrupted. Silent ${stoppedAfter} ms after you began to speak.`;
}

function compact(json) {
  try {
    return Object.entries(JSON.parse(json)).map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join(", ");
  } catch {
    return json;
  }
}
