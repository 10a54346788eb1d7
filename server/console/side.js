// The panel with settings and events: beside the conversation where there is room, else a sheet over it.

import { byId } from "./dom.js";

const TABS = ["settings", "events"];
const WIDE = window.matchMedia("(min-width: 1000px)");

export class Side {
  #side = byId("side");
  #opener = null;
  #onEvents;

  /** `onEvents()`: the events have come into view. */
  constructor(onEvents) {
    this.#onEvents = onEvents;
    for (const name of TABS) {
      byId(`tab-${name}`).addEventListener("click", () => this.#choose(name));
      byId(`open-${name}`).addEventListener("click", () => this.toggle(name));
    }
    this.#side.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = TABS.find((name) => byId(name).hidden);
      this.#choose(other);
      byId(`tab-${other}`).focus();
    });
    byId("close-side").addEventListener("click", () => this.close());
    WIDE.addEventListener("change", () => this.#show(WIDE.matches));
    this.#choose("settings");
    this.#show(WIDE.matches);
  }

  /** Whether it is open over the conversation. */
  get isSheet() {
    return !this.#side.hidden && !WIDE.matches;
  }

  toggle(name) {
    if (!this.#side.hidden && !byId(name).hidden) {
      this.close();
      return;
    }
    this.#opener = byId(`open-${name}`);
    this.#choose(name);
    this.#show(true);
    byId(`tab-${name}`).focus();
  }

  close() {
    this.#show(false);
    this.#opener?.focus();
  }

  #choose(name) {
    for (const each of TABS) {
      const chosen = each === name;
      byId(each).hidden = !chosen;
      byId(`tab-${each}`).setAttribute("aria-selected", String(chosen));
      byId(`tab-${each}`).tabIndex = chosen ? 0 : -1;
    }
    this.#tell();
  }

  #show(open) {
    this.#side.hidden = !open;
    document.body.classList.toggle("with-side", open);
    // What lies under a sheet is not to be reached.
    document.querySelector(".conversation").inert = this.isSheet;
    this.#tell();
  }

  #tell() {
    if (!this.#side.hidden && !byId("events").hidden) this.#onEvents();
    for (const name of TABS) {
      byId(`open-${name}`).setAttribute("aria-expanded", String(!this.#side.hidden && !byId(name).hidden));
    }
  }
}
