// A conversation under way: what the server says is done here, and what the user does is told to it. The two transports
// differ in who plays the sound and knows what was heard of it: over WebSocket this page, over WebRTC the server.

import { Connection } from "./connection.js";
import { decode, encode, RATE } from "./pcm.js";
import { responseProblem } from "./problems.js";
import { sessionOf } from "./settings.js";
import * as tools from "./tools.js";
import { openWebRtc, openWebSocket } from "./transports.js";

const SHORTEST_MS = 100; // what servers let one commit
const QUIET_MS = 40; // the meter is sure of silence so much after it began
const RECENT_MS = 2000;

export class Call {
  #sound;
  #conversation;
  #told;
  #page;
  #connection;
  #settings = null;
  #can = null;
  #begun = null;
  #active = new Set(); // responses under way
  #latest = null; // the response that was created last
  #latestAt = 0;
  #pushed = new Map(); // item → samples that have come
  #asked = new Map(); // response → its calls that have no output yet
  #spoken = false; // whether a reply has had sound: then the voice is settled
  #resolve = () => {};
  #owed = false; // whether the model was told something that it has not answered to
  #pressed = false;
  #muted = false;
  #sent = 0; // samples since the button was pressed
  #sounding = false;
  #playing = false; // whether the server plays a reply: over WebRTC it says so
  #hearing = false;
  #voiceAt = -Infinity;
  #cutting = null;

  /**
   * @param {import("./sound.js").Sound} sound
   * @param {import("./conversation.js").Conversation} conversation
   * @param {object} told onState(state, detail), onActivity(name), onEvent(direction, event), onProblem(text), onSession(session)
   * @param {object} page what sample tools may touch
   */
  constructor(sound, conversation, told, page) {
    this.#sound = sound;
    this.#conversation = conversation;
    this.#told = told;
    this.#page = page;
    this.#connection = new Connection({
      onState: (state, detail) => this.#onState(state, detail),
      onEvent: (event) => this.#take(event),
    });
  }

  get state() {
    return this.#connection.state;
  }

  get voiceIsSettled() {
    return this.#spoken;
  }

  get pushToTalk() {
    return this.#settings?.turns === "none";
  }

  get muted() {
    return this.#muted;
  }

  /** Connects. Resolves with whether the session has begun; what is wrong is told. */
  start(settings, can) {
    this.#settings = { ...settings };
    this.#can = can;
    void this.#connection.open((told) => this.#dial(told));
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Changes what can be changed while one talks. */
  change(settings) {
    this.#settings = { ...settings };
    if (this.#begun === null) return;
    this.#send({ type: "session.update", session: sessionOf(settings, this.#begun, this.#can, !this.#spoken) });
    this.#openMicrophone();
  }

  end() {
    this.#connection.close();
  }

  retry() {
    this.#connection.retry();
  }

  /** The microphone was opened, or another one. */
  async microphoneOpened(track) {
    await this.#connection.transport?.setTrack?.(track);
    this.#openMicrophone();
  }

  mute(muted) {
    this.#muted = muted;
    this.#openMicrophone();
    this.#tellActivity();
  }

  async say(text) {
    this.#conversation.typed(text);
    await this.interrupt();
    this.#message("user", text);
    this.#send({ type: "response.create" });
  }

  /** Something that the user did not say, and the model should answer to. */
  tell(text) {
    this.#message("system", text);
    if (this.#active.size) this.#owed = true;
    else this.#send({ type: "response.create" });
  }

  async press() {
    if (this.#pressed || !this.pushToTalk) return;
    this.#pressed = true;
    this.#sent = 0;
    this.#send({ type: "input_audio_buffer.clear" });
    this.#openMicrophone();
    this.#tellActivity();
    await this.interrupt();
  }

  release() {
    if (!this.#pressed) return;
    this.#pressed = false;
    this.#openMicrophone();
    if ((this.#sent * 1000) / RATE >= SHORTEST_MS) {
      this.#send({ type: "input_audio_buffer.commit" });
      this.#send({ type: "response.create" });
    } else {
      this.#send({ type: "input_audio_buffer.clear" });
    }
    this.#tellActivity();
  }

  /** Ends what is being said and played. */
  async interrupt() {
    for (const id of this.#active) this.#send({ type: "response.cancel", response_id: id });
    await this.#silence();
    if (this.#playing) this.#send({ type: "output_audio_buffer.clear" });
  }

  /** The user has said what a call of a tool gives. */
  answer(turn, output) {
    const { response, call } = turn;
    this.#conversation.answered(turn, output);
    this.#send({ type: "conversation.item.create", item: { type: "function_call_output", call_id: call, output } });
    const open = this.#asked.get(response);
    open?.delete(call);
    if (open?.size === 0) {
      this.#asked.delete(response);
      this.#send({ type: "response.create" });
    }
  }

  // --- the sound of this page: see sound.js ---

  heard(samples) {
    if (this.pushToTalk && !this.#pressed) return;
    this.#sent += samples.length;
    if (this.state === "on" && !this.#connection.carriesSound) {
      this.#send({ type: "input_audio_buffer.append", audio: encode(samples) });
    }
  }

  voiced(at) {
    this.#voiceAt = at;
  }

  played(item, ms) {
    this.#conversation.played(item, ms);
  }

  sounds(sounding, at) {
    this.#sounding = sounding;
    if (sounding && this.#latest !== null) this.#conversation.sounded(this.#latest, at - this.#latestAt);
    if (!sounding && this.#cutting !== null) this.#wasCut(at - QUIET_MS);
    this.#tellActivity();
  }

  // --- the connection ---

  #dial(told) {
    const { pipeline, transport } = this.#settings;
    if (transport !== "webrtc") return openWebSocket(pipeline, told);
    const onStream = (stream) => this.#sound.playStream(stream);
    return openWebRtc(pipeline, this.#sound.microphone?.track ?? null, { ...told, onStream });
  }

  #onState(state, detail) {
    if (state === "off" || state === "waiting") this.#resolve(false);
    if (state !== "on") {
      if (this.#begun !== null) this.#conversation.ended();
      this.#begun = null;
      this.#active.clear();
      this.#asked.clear();
      this.#pushed.clear();
      this.#spoken = this.#pressed = this.#hearing = this.#owed = this.#playing = false;
      this.#sound.stopStream();
      void this.#sound.stop();
    }
    this.#openMicrophone();
    this.#told.onState(state, detail);
  }

  #begin(session) {
    this.#begun = session;
    this.#told.onSession(session);
    this.#send({ type: "session.update", session: sessionOf(this.#settings, session, this.#can) });
    const history = this.#conversation.history();
    for (const item of history) this.#send({ type: "conversation.item.create", item });
    if (history.length) this.#conversation.note("The new session was told what is above.");
    this.#tellActivity();
    this.#resolve(true);
  }

  #send(event) {
    if (this.state !== "on") return;
    this.#told.onEvent("out", event);
    this.#connection.send(event);
  }

  #message(role, text) {
    const item = { type: "message", role, content: [{ type: "input_text", text }] };
    this.#send({ type: "conversation.item.create", item });
  }

  #openMicrophone() {
    const wanted = this.state === "on" && (this.pushToTalk ? this.#pressed : !this.#muted);
    this.#sound.hear(wanted);
  }

  // --- what the server says ---

  #take(event) {
    this.#told.onEvent("in", event);
    const pushed = this.#connection.carriesSound ? null : ((this.#pushed.get(event.item_id) ?? 0) * 1000) / RATE;
    this.#conversation.take(event, pushed);
    switch (event.type) {
      case "session.created":
        this.#begin(event.session);
        break;
      case "error":
        this.#told.onProblem(event.error.message);
        break;
      case "input_audio_buffer.speech_started":
        this.#hearing = true;
        if (this.#settings.interruptible) void this.#silence(true);
        break;
      case "input_audio_buffer.speech_stopped":
      case "input_audio_buffer.committed":
        this.#hearing = false;
        break;
      case "response.created":
        this.#latest = event.response.id;
        this.#latestAt = performance.now();
        this.#active.add(event.response.id);
        break;
      case "response.output_audio.delta":
        this.#play(event);
        break;
      case "response.output_audio.done":
        this.#spoken = true;
        this.#sound.finish(event.item_id);
        break;
      case "output_audio_buffer.started":
        this.#spoken = this.#playing = true;
        this.#sound.hushStream(false);
        break;
      case "output_audio_buffer.stopped":
      case "output_audio_buffer.cleared":
        this.#playing = false;
        break;
      case "conversation.item.truncated":
        this.#conversation.cut(event.item_id, event.audio_end_ms);
        // What of the words was heard is the server's to say.
        this.#send({ type: "conversation.item.retrieve", item_id: event.item_id });
        break;
      case "conversation.item.retrieved":
        this.#retrieved(event.item);
        break;
      case "response.done":
        this.#done(event.response);
        break;
    }
    this.#tellActivity();
  }

  #play({ item_id: item, content_index: index, delta }) {
    const samples = decode(delta);
    this.#spoken = true;
    this.#pushed.set(item, (this.#pushed.get(item) ?? 0) + samples.length);
    this.#sound.push(item, index, samples);
  }

  /** Stops the sound, and tells the server how much was heard. `spoken`: because the user speaks. */
  async #silence(spoken = false) {
    if (this.#connection.carriesSound) {
      if (this.#playing) this.#sound.hushStream(true);
      if (spoken && this.#playing) {
        this.#cutting = this.#lastReply;
        if (!this.#sounding) this.#wasCut(performance.now());
      }
      return;
    }
    const sounding = this.#sounding;
    const cuts = await this.#sound.stop();
    for (const { item, index, ms } of cuts) {
      if (spoken) this.#cutting = item;
      this.#conversation.cut(item, ms);
      this.#send({ type: "conversation.item.truncate", item_id: item, content_index: index, audio_end_ms: ms });
    }
    if (this.#cutting !== null && !sounding) this.#wasCut(performance.now());
  }

  get #lastReply() {
    return this.#conversation.turns.findLast((turn) => turn.role === "assistant")?.item ?? null;
  }

  #wasCut(at) {
    const after = at - this.#voiceAt;
    if (after < RECENT_MS) this.#conversation.interruptedAfter(this.#cutting, Math.max(0, Math.round(after)));
    this.#cutting = null;
  }

  #retrieved(item) {
    if (item.role !== "assistant") return;
    const words = item.content.map((part) => part.transcript ?? part.text ?? "").join("");
    this.#conversation.heard(item.id, words);
  }

  #done(response) {
    this.#active.delete(response.id);
    const problem = responseProblem(response);
    if (problem !== null) this.#conversation.note(problem, true);
    const calls = response.output.filter((item) => item.type === "function_call" && item.status === "completed");
    if (calls.length) this.#run(response.id, calls);
    else if (this.#owed) this.#send({ type: "response.create" });
    this.#owed = false;
  }

  #run(response, calls) {
    this.#asked.set(response, new Set(calls.map((item) => item.call_id)));
    const turns = calls.map((item) => Object.assign(this.#conversation.called(item), { response, call: item.call_id }));
    for (const turn of turns) {
      const output = tools.run(turn.name, turn.arguments, this.#page);
      if (output !== null) this.answer(turn, output);
    }
  }

  #tellActivity() {
    this.#told.onActivity(this.#activity());
  }

  #activity() {
    if (this.#pressed || this.#hearing) return "hearing";
    if (this.#sounding || this.#playing) return "speaking";
    if (this.#active.size) return "thinking";
    return this.pushToTalk ? "waits" : this.#muted ? "muted" : "listening";
  }
}
