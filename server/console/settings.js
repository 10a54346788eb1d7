// What the user chooses, kept from visit to visit, and what that is for a session.

import { readTools, toolsFor } from "./tools.js";

const KEPT = "parley.settings";

const DEFAULTS = {
  pipeline: "",
  voice: "",
  transport: "websocket",
  turns: "server_vad",
  silence: 500,
  eagerness: "auto",
  interruptible: true,
  written: false,
  microphone: "",
  instructions: "",
  samples: ["get_current_time", "roll_dice", "set_page_color", "start_timer"],
  tools: "",
  theme: "",
};

export function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    const same = ([name, value]) => typeof value === typeof DEFAULTS[name] && Array.isArray(value) === Array.isArray(DEFAULTS[name]);
    return { ...DEFAULTS, ...Object.fromEntries(Object.entries(kept).filter(same)) };
  } catch {
    return { ...DEFAULTS };
  }
}

export function keep(settings) {
  try {
    localStorage.setItem(KEPT, JSON.stringify(settings));
  } catch {
    // A browser that keeps nothing: they hold until the page is closed.
  }
}

/**
 * Returns the `session` of a `session.update`.
 * @param {object} settings
 * @param {object} begun the session as it began: its instructions hold where the user writes none
 * @param {object} can the pipeline's capabilities
 * @param {boolean} [first] whether nothing was said yet, so that the voice can be chosen
 */
export function sessionOf(settings, begun, can, first = true) {
  const audio = { input: { turn_detection: detectionOf(settings) } };
  if (first && can.speech.voices.includes(settings.voice)) audio.output = { voice: settings.voice };
  return {
    type: "realtime",
    instructions: settings.instructions.trim() || begun.instructions,
    output_modalities: [settings.written ? "text" : "audio"],
    tools: can.llm.tools ? toolsFor(settings.samples, ownTools(settings)) : [],
    audio,
  };
}

function detectionOf(settings) {
  const both = { create_response: true, interrupt_response: settings.interruptible };
  switch (settings.turns) {
    case "server_vad":
      return { type: "server_vad", silence_duration_ms: Number(settings.silence), ...both };
    case "semantic_vad":
      return { type: "semantic_vad", eagerness: settings.eagerness, ...both };
    default:
      return null;
  }
}

function ownTools(settings) {
  try {
    return readTools(settings.tools);
  } catch {
    return []; // said beside the field
  }
}
