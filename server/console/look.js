// Light and dark, the accent, and the clipboard.

import { byId } from "./dom.js";

export class Look {
  #settings;
  #keep;
  #dark = window.matchMedia("(prefers-color-scheme: dark)");

  /** `keep()` is called when the user has chosen. */
  constructor(settings, keep) {
    this.#settings = settings;
    this.#keep = keep;
    byId("theme").addEventListener("click", () => this.#switch());
    this.#dark.addEventListener("change", () => this.#apply());
    this.#apply();
  }

  /** Sets the accent to a CSS colour. */
  setAccent(colour) {
    const style = document.documentElement.style;
    style.setProperty("--accent", colour);
    style.setProperty("--on-accent", isLight(colour) ? "#111" : "#fff");
  }

  async copy(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    // Pages that are not from this machine and not over https have no clipboard but this old way.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("not copied");
  }

  /** Says something on a button for a moment. */
  flash(button, text) {
    const usual = button.dataset.usual ?? button.textContent;
    button.dataset.usual = usual;
    button.replaceChildren(text);
    setTimeout(() => button.replaceChildren(usual), 1500);
  }

  get #isDark() {
    return this.#settings.theme ? this.#settings.theme === "dark" : this.#dark.matches;
  }

  #switch() {
    this.#settings.theme = this.#isDark ? "light" : "dark";
    this.#keep();
    this.#apply();
  }

  #apply() {
    document.documentElement.dataset.theme = this.#isDark ? "dark" : "light";
    byId("theme").setAttribute("aria-pressed", String(this.#isDark));
  }
}

/** Whether dark text reads better on a colour: its relative luminance, by WCAG 2. */
function isLight(colour) {
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = [...context.getImageData(0, 0, 1, 1).data].map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18;
}
