// The form of settings: what is in it, and what it says about what the pipeline can do.

import { byId, element } from "./dom.js";
import { readTools, SAMPLES } from "./tools.js";

const CONNECTION = ["pipeline", "transport"]; // what is settled when one connects

export class Form {
  #form = byId("settings");
  #settings;
  #pipelines = [];
  #onChange;

  /** `onChange(settings, anew)`: the user has changed something; `anew`: it needs a new connection. */
  constructor(settings, onChange) {
    this.#settings = settings;
    this.#onChange = onChange;
    byId("samples").replaceChildren(
      ...SAMPLES.map(({ name, description }) =>
        element("label", { class: "check", title: description }, [
          element("input", { type: "checkbox", name: "sample", value: name }),
          element("code", {}, [name]),
        ]),
      ),
    );
    this.#fill();
    this.#form.addEventListener("change", ({ target }) => this.#take(target));
    this.#form.addEventListener("input", ({ target }) => target.name === "silence" && this.#showSilence());
    this.#form.addEventListener("submit", (event) => event.preventDefault());
  }

  get settings() {
    return this.#settings;
  }

  /** What the chosen pipeline can do; null while none is known. */
  get can() {
    return this.#pipelines.find((each) => each.id === this.#settings.pipeline)?.capabilities ?? null;
  }

  setPipelines(pipelines) {
    this.#pipelines = pipelines;
    if (!pipelines.some((each) => each.id === this.#settings.pipeline)) this.#settings.pipeline = pipelines[0]?.id ?? "";
    const names = pipelines.map(({ id }) => element("option", { value: id }, [id]));
    this.#field("pipeline").replaceChildren(...names);
    this.#showPipeline();
  }

  /** A session has begun: its instructions are what holds where the user writes none. */
  setSession(session) {
    this.#field("instructions").placeholder = session.instructions || "None. You are free to write some.";
  }

  async listMicrophones() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const found = devices.filter(({ kind, deviceId, label }) => kind === "audioinput" && deviceId && label);
    const options = found.map(({ deviceId, label }) => element("option", { value: deviceId }, [label]));
    const field = this.#field("microphone");
    field.replaceChildren(element("option", { value: "" }, ["The system’s own"]), ...options);
    field.value = this.#settings.microphone;
    if (field.selectedIndex < 0) field.value = "";
  }

  #field(name) {
    return this.#form.elements.namedItem(name);
  }

  #fill() {
    const { samples, ...others } = this.#settings;
    for (const [name, value] of Object.entries(others)) {
      const field = this.#field(name);
      if (field === null) continue;
      if (typeof value === "boolean") field.checked = value;
      else field.value = value;
    }
    for (const box of this.#form.querySelectorAll("[name=sample]")) box.checked = samples.includes(box.value);
    this.#showSilence();
    this.#showTurns();
    this.#checkTools();
  }

  #take(target) {
    if (target.name === "sample") {
      const boxes = [...this.#form.querySelectorAll("[name=sample]:checked")];
      this.#settings.samples = boxes.map((box) => box.value);
    } else {
      this.#settings[target.name] = target.type === "checkbox" ? target.checked : target.value;
    }
    if (target.name === "silence") this.#settings.silence = Number(target.value);
    if (target.name === "pipeline") this.#showPipeline();
    this.#showTurns();
    if (target.name === "tools" && !this.#checkTools()) return;
    this.#onChange(this.#settings, CONNECTION.includes(target.name), target.name);
  }

  #showPipeline() {
    const can = this.can;
    this.#field("pipeline").value = this.#settings.pipeline;
    if (can === null) return;
    const { transcription, llm, speech } = can;
    const context = llm.context === null ? "" : `, ${llm.context.toLocaleString("en")} tokens`;
    byId("can").replaceChildren(
      `Hears ${transcription.languages.join(", ") || "any language"} with ${transcription.engine}. `,
      `Thinks with ${llm.engine}${context}${llm.tools ? ", calls tools" : ""}. Speaks with ${speech.engine}.`,
    );
    const voice = this.#field("voice");
    voice.replaceChildren(...speech.voices.map((each) => element("option", { value: each }, [each])));
    voice.value = speech.voices.includes(this.#settings.voice) ? this.#settings.voice : speech.default_voice;
    byId("tools-set").disabled = !llm.tools;
    byId("no-tools").hidden = llm.tools;
  }

  #showTurns() {
    for (const label of this.#form.querySelectorAll("[data-for]")) {
      label.hidden = !label.dataset.for.split(" ").includes(this.#settings.turns);
    }
  }

  #showSilence() {
    byId("silence-shown").value = `${this.#field("silence").value} ms`;
  }

  #checkTools() {
    const field = this.#field("tools");
    let problem = "";
    try {
      readTools(field.value);
    } catch (error) {
      problem = error.message;
    }
    field.setAttribute("aria-invalid", String(problem !== ""));
    byId("tools-problem").replaceChildren(problem);
    byId("tools-problem").hidden = problem === "";
    return problem === "";
  }
}
