// What was said, as the server's events tell it. No DOM, no sound, no clock: moments come in with the events.

let made = 0;

/**
 * Turns, in order. A turn is one of
 *   {role: "user", text, state: "speaking" | "heard" | "done" | "failed", problem}
 *   {role: "assistant", pieces: [{text, at}], played, state: "speaking" | "done" | "cut", heard, timings, counts}
 *   {role: "tool", name, arguments, output, state: "asked" | "done"}
 *   {role: "note", text, grave}
 * each with an `id` of this page's. `at`: where in its sound (ms) a piece of text begins, null where it has none here;
 * `played`: how far the sound has been played. `heard`: of a cut reply, the text that was heard, once it is known.
 */
export class Conversation {
  turns = [];
  #items = new Map();
  #responses = new Map();
  #changed;

  /** `changed(turn)` is called for each turn that is new or not what it was. */
  constructor(changed) {
    this.#changed = changed;
  }

  /** What the user types. */
  typed(text) {
    this.#add({ role: "user", text, state: "done" });
  }

  note(text, grave = false) {
    this.#add({ role: "note", text, grave });
  }

  /** A call of a tool, until `answered`. */
  called(item) {
    return this.#add({ role: "tool", name: item.name, arguments: item.arguments, output: null, state: "asked" });
  }

  answered(turn, output) {
    this.#change(turn, { output, state: "done" });
  }

  /** How far an item's sound has been played, in ms; Infinity: to its end. */
  played(item, ms) {
    const turn = this.#items.get(item);
    if (turn?.state !== "cut" && turn !== undefined) this.#change(turn, { played: ms });
  }

  /** An item was cut off after `ms` of sound. */
  cut(item, ms) {
    const turn = this.#items.get(item);
    if (turn === undefined) return;
    // Where the sound was played here, so much is known of the words already.
    const known = turn.pieces.every((piece) => piece.at !== null);
    const begun = turn.pieces.filter((piece) => piece.at < ms).map((piece) => piece.text).join("");
    this.#change(turn, { state: "cut", heard: turn.heard ?? (known ? begun : null) });
  }

  /** The server says what was heard of an item that was cut. */
  heard(item, words) {
    const turn = this.#items.get(item);
    if (turn !== undefined) this.#change(turn, { heard: words });
  }

  /** How soon an interruption ended the sound, in ms after the voice. */
  interruptedAfter(item, ms) {
    const turn = this.#items.get(item);
    if (turn !== undefined) this.#change(turn, { stoppedAfter: ms });
  }

  /** The first sound of a response was heard, so many ms after `response.created` came. */
  sounded(response, ms) {
    const known = this.#responses.get(response);
    if (known !== undefined && known.sounded === null) {
      known.sounded = ms;
      this.#tellTimings(known);
    }
  }

  /** The connection is gone: nothing more comes of what is under way. */
  ended() {
    for (const turn of this.turns) {
      if (turn.state === "speaking" || turn.state === "heard") {
        this.#change(turn, { state: turn.role === "user" ? "failed" : "cut", problem: "the connection was lost" });
      }
    }
    this.#items.clear();
    this.#responses.clear();
  }

  clear() {
    this.turns = [];
    this.ended();
  }

  /** What was said so far, as items for a new session. */
  history() {
    const said = this.turns.map((turn) => {
      if (turn.role === "user") return message("user", "input_text", turn.state === "done" ? turn.text : "");
      if (turn.role !== "assistant") return null;
      return message("assistant", "output_text", turn.heard ?? textOf(turn));
    });
    return said.filter((item) => item !== null);
  }

  /** Takes a server event; `pushed`: how much sound (ms) of its item has come before it, null where none comes here. */
  take(event, pushed = null) {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
      case "input_audio_buffer.committed":
        this.#userTurn(event.item_id);
        if (event.type.endsWith("committed")) this.#changeItem(event.item_id, { state: "heard" });
        break;
      case "conversation.item.input_audio_transcription.delta": {
        const turn = this.#userTurn(event.item_id);
        this.#change(turn, { text: turn.text + event.delta });
        break;
      }
      case "conversation.item.input_audio_transcription.completed":
        this.#change(this.#userTurn(event.item_id), { text: event.transcript.trim(), state: "done" });
        break;
      case "conversation.item.input_audio_transcription.failed":
        this.#change(this.#userTurn(event.item_id), { state: "failed", problem: event.error.message });
        break;
      case "response.created":
        this.#responses.set(event.response.id, { turn: null, timings: null, counts: null, sounded: null });
        break;
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta":
        this.#words(event, event.type.includes("audio") ? pushed : null);
        break;
      case "response.done":
        this.#end(event.response);
        break;
    }
  }

  #words(event, at) {
    const turn = this.#items.get(event.item_id) ?? this.#reply(event);
    turn.pieces.push({ text: event.delta, at });
    this.#change(turn, {});
  }

  #reply({ item_id: item, response_id: response }) {
    const turn = { role: "assistant", pieces: [], played: 0, state: "speaking", heard: null, timings: null, item };
    this.#items.set(item, turn);
    const known = this.#responses.get(response);
    if (known !== undefined) known.turn ??= turn;
    return this.#add(turn);
  }

  #userTurn(item) {
    if (!this.#items.has(item)) {
      this.#items.set(item, this.#add({ role: "user", text: "", state: "speaking", item }));
    }
    return this.#items.get(item);
  }

  #end(response) {
    for (const { id } of response.output) {
      const turn = this.#items.get(id);
      if (turn?.state === "speaking") this.#change(turn, { state: "done" });
    }
    const known = this.#responses.get(response.id);
    if (known === undefined) return;
    known.timings = read(response.metadata?.["parley.timings"]);
    known.counts = read(response.metadata?.["parley.counts"]);
    this.#tellTimings(known);
  }

  #tellTimings({ turn, timings, counts, sounded }) {
    if (turn === null || timings === null) return;
    // Two clocks: the one is set by the other when `response.created` comes, which is a little late.
    const heard = sounded === null ? {} : { heard: Math.max(timings.created + sounded, timings.sent ?? 0) };
    this.#change(turn, { timings: { ...timings, ...heard }, counts: counts ?? {} });
  }

  #add(turn) {
    turn.id = `turn-${++made}`;
    this.turns.push(turn);
    this.#changed(turn);
    return turn;
  }

  #changeItem(item, changes) {
    const turn = this.#items.get(item);
    if (turn !== undefined) this.#change(turn, changes);
  }

  #change(turn, changes) {
    Object.assign(turn, changes);
    this.#changed(turn);
  }
}

export function textOf(turn) {
  return turn.role === "assistant" ? turn.pieces.map((piece) => piece.text).join("") : turn.text;
}

function message(role, type, text) {
  return text.trim() ? { type: "message", role, content: [{ type, text }] } : null;
}

function read(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
