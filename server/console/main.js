// The page: what is pressed and typed goes to the call, what comes of it is shown.

import { hasKey, keepKey, pipelines } from "./api.js";
import { Call } from "./call.js";
import { Conversation } from "./conversation.js";
import { byId } from "./dom.js";
import { Form } from "./form.js";
import { Keyboard } from "./keyboard.js";
import { Log } from "./log.js";
import { Look } from "./look.js";
import { microphoneProblem } from "./problems.js";
import { Side } from "./side.js";
import { keep, load } from "./settings.js";
import { Sound } from "./sound.js";
import { Tape } from "./tape.js";
import { Transcript } from "./transcript.js";

const STATUS = {
  off: "Not connected",
  connecting: "Connecting …",
  waiting: "Server away",
  listening: "Listening",
  hearing: "Hearing you",
  thinking: "Thinking",
  speaking: "Speaking",
  muted: "Microphone off",
  waits: "Ready",
  deaf: "No microphone",
};

const settings = load();
const look = new Look(settings, () => keep(settings));
const tape = new Tape(byId("tape"));
const log = new Log(byId("log"), byId("log-count"));
const side = new Side(() => log.shown());
const transcript = new Transcript(byId("turns"), byId("announce"), (turn, output) => call.answer(turn, output));
const conversation = new Conversation((turn) => {
  byId("empty").hidden = true;
  transcript.show(turn);
});
const form = new Form(settings, changed);

const sound = new Sound({
  onMicrophone(samples, db) {
    const open = sound.microphone?.track.enabled;
    if (open) tape.said(db);
    call.heard(samples);
  },
  onVoice: (at) => call.voiced(at),
  onMicrophoneEnd() {
    problem("The microphone has gone away. Plug it in again, or choose another one in the settings.");
    showActivity(activity);
  },
  onPlayed: (item, ms) => call.played(item, ms),
  onSounding: (sounding, at) => call.sounds(sounding, at),
  onLevel: (db) => tape.heard(db),
});

const call = new Call(
  sound,
  conversation,
  {
    onState: showState,
    onActivity: showActivity,
    onEvent: (direction, event) => log.add(direction, event),
    onProblem: (text) => conversation.note(text, true),
    onSession: (session) => form.setSession(session),
  },
  { setAccent: (colour) => look.setAccent(colour), tell: (text) => call.tell(text) },
);

let activity = "off";
let afterKey = () => {};
let lost = false;

// --- what is wrong ---

/** Shows it until it is dismissed or mended; `ofServer`: it is mended when the server answers. */
function problem(text, ofServer = false) {
  const box = byId("problem");
  box.querySelector("p").replaceChildren(text);
  byId("retry").hidden = !ofServer;
  box.hidden = false;
}

function noProblem() {
  byId("problem").hidden = true;
}

function serverAnswers() {
  if (!byId("retry").hidden) noProblem();
}

/** Says why the server cannot be used; with a key that may be mended, `again` is tried. */
function unusable(error, again) {
  if (error.kind !== "key") {
    problem(error.message, true);
    return;
  }
  const hint = byId("key-problem");
  hint.replaceChildren(error.message);
  hint.hidden = !hasKey();
  afterKey = again;
  byId("key").value = "";
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}

// --- beginning and ending ---

async function loadPipelines() {
  try {
    form.setPipelines(await pipelines());
    serverAnswers();
    return true;
  } catch (error) {
    unusable(error, loadPipelines);
    return false;
  }
}

async function start({ withMicrophone }) {
  if (form.can === null && !(await loadPipelines())) return false;
  noProblem();
  await sound.open();
  if (withMicrophone) await openMicrophone();
  const begun = await call.start(wanted(), form.can);
  byId("anew").hidden = true;
  return begun;
}

/** What the user has chosen, as far as this page can do it. */
function wanted() {
  return sound.possible ? settings : { ...settings, written: true, transport: "websocket" };
}

async function openMicrophone() {
  try {
    await sound.open();
    const track = await sound.openMicrophone(settings.microphone);
    await call.microphoneOpened(track);
    void form.listMicrophones();
  } catch (error) {
    problem(microphoneProblem(error));
  }
  showActivity(activity);
}

function end() {
  call.end();
  sound.closeMicrophone();
  showActivity("off");
}

/** Begins a new conversation: what was said is forgotten here, as the server has forgotten it. */
function forget() {
  conversation.clear();
  transcript.clear();
  byId("empty").hidden = false;
  showActivity("off");
}

/** The settings have changed; `anew`: it takes another connection. */
function changed(_, anew, name) {
  keep(settings);
  if (call.state !== "on") return;
  if (name === "microphone") void (sound.microphone !== null && openMicrophone());
  else if (anew || (name === "voice" && call.voiceIsSettled)) byId("anew").hidden = false;
  else call.change(wanted());
  showActivity(activity);
}

// --- talking ---

async function talk() {
  if (call.state === "off") await start({ withMicrophone: true });
  else if (call.state === "waiting") call.retry();
  else if (call.state === "on" && sound.microphone === null) {
    noProblem();
    await openMicrophone();
  } else if (call.state === "on" && !call.pushToTalk) call.mute(!call.muted);
}

/** The button goes down, or the space bar. Returns whether it is held to talk. */
function press() {
  if (call.state !== "on" || !call.pushToTalk || sound.microphone === null) return false;
  void call.press();
  return true;
}

async function type(event) {
  event.preventDefault();
  const field = byId("text");
  const text = field.value.trim();
  if (!text) return;
  if (call.state === "off" && !(await start({ withMicrophone: false }))) return;
  if (call.state !== "on") {
    problem("The server is away: what you typed stays here until it is back.", true);
    return;
  }
  await sound.open();
  field.value = "";
  await call.say(text);
}

// --- what is shown ---

function showState(state, { seconds, error }) {
  document.body.dataset.state = state;
  if (state === "waiting") {
    if (!lost) conversation.note("The connection was lost.");
    lost = true;
    const when = seconds < 1 ? "at once" : `in ${seconds} s`;
    problem(`The server has gone away. Trying again ${when}.`, true);
  } else if (state === "on") {
    serverAnswers();
    if (lost) conversation.note("Connected again.");
    lost = false;
  } else if (state === "off") {
    lost = false;
    if (error !== undefined) unusable(error, () => start({ withMicrophone: sound.microphone !== null }));
  }
  showActivity(state === "on" ? "listening" : state);
}

function showActivity(now) {
  activity = call.state === "on" ? now : call.state;
  const deaf = call.state === "on" && sound.microphone === null;
  const shown = deaf && ["listening", "muted", "waits"].includes(activity) ? "deaf" : activity;
  if (document.body.dataset.activity !== shown) {
    document.body.dataset.activity = shown;
    byId("status").replaceChildren(STATUS[shown]);
  }
  byId("end").hidden = call.state === "off";
  byId("forget").hidden = call.state !== "off" || !conversation.turns.length;
  const [label, hint, keys] = talkLabel(deaf);
  if (byId("talk-label").textContent !== label) byId("talk-label").replaceChildren(label);
  if (byId("hint-words").textContent !== hint) byId("hint-words").replaceChildren(hint);
  if (byId("hint-keys").textContent !== keys) byId("hint-keys").replaceChildren(keys);
  byId("talk").setAttribute("aria-pressed", String(call.pushToTalk ? activity === "hearing" : !call.muted && !deaf));
}

/** Returns what the button says, what is said below it, and of the keys where there are some. */
function talkLabel(deaf) {
  switch (call.state) {
    case "off":
      return ["Start", "", "Space starts, / lets you type."];
    case "connecting":
      return ["Connecting", "", ""];
    case "waiting":
      return ["Try now", "", ""];
  }
  if (deaf) return ["Use microphone", "You are connected and can type.", ""];
  if (!call.pushToTalk) {
    return call.muted
      ? ["Unmute", "", "Space opens the microphone."]
      : ["Mute", "Just talk.", "Space closes the microphone, Esc stops the reply."];
  }
  if (activity === "hearing") return ["Let go to send", "", ""];
  return ["Hold to talk", "", "The space bar does it too. Esc stops the reply."];
}

// --- wiring ---

const button = byId("talk");
button.addEventListener("click", () => void talk());
button.addEventListener("pointerdown", (event) => press() && button.setPointerCapture(event.pointerId));
for (const kind of ["pointerup", "pointercancel"]) button.addEventListener(kind, () => call.release());
button.addEventListener("contextmenu", (event) => event.preventDefault());

byId("end").addEventListener("click", end);
byId("forget").addEventListener("click", forget);
byId("type").addEventListener("submit", (event) => void type(event));
byId("dismiss").addEventListener("click", noProblem);
byId("retry").addEventListener("click", () => (call.state === "waiting" ? call.retry() : void loadPipelines()));
byId("restart").addEventListener("click", () => void start({ withMicrophone: sound.microphone !== null }));
byId("help").addEventListener("click", () => byId("help-dialog").showModal());
byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
byId("key-dialog").querySelector("form").addEventListener("submit", () => {
  keepKey(byId("key").value.trim());
  afterKey();
});

byId("filter").addEventListener("input", ({ target }) => log.filter(target.value));
byId("clear").addEventListener("click", () => log.clear());
byId("pause").addEventListener("click", ({ target }) => {
  const paused = target.getAttribute("aria-pressed") !== "true";
  target.setAttribute("aria-pressed", String(paused));
  target.replaceChildren(paused ? "Go on" : "Pause");
  log.pause(paused);
});
byId("copy").addEventListener("click", ({ target }) => {
  look.copy(log.text()).then(
    () => look.flash(target, "Copied"),
    () => problem("The browser does not let this page copy."),
  );
});

new Keyboard({
  talk: () => void talk(),
  press,
  release: () => call.release(),
  interrupt: () => (side.isSheet ? side.close() : void call.interrupt()),
  type: () => byId("text").focus(),
  settings: () => side.toggle("settings"),
  events: () => side.toggle("events"),
  help: () => byId("help-dialog").showModal(),
});

navigator.mediaDevices?.addEventListener("devicechange", () => void form.listMicrophones());
window.addEventListener("pagehide", end);
window.addEventListener("blur", () => call.release());

showActivity("off");
void form.listMicrophones();
void loadPipelines();
