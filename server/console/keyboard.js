// Keys that work anywhere on the page but in fields, and not while a dialog is open.

const WRITING = "input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable]";
const PRESSED_BY_SPACE = "button, summary, input, a[href], [role=tab]";

export class Keyboard {
  /** `does`: functions by name; `press` says whether the space bar is held to talk. */
  constructor(does) {
    let held = false;
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.key === "Escape") {
        if (event.target.matches(WRITING)) event.target.blur();
        else does.interrupt();
        return;
      }
      if (event.target.matches(WRITING)) return;
      if (event.code === "Space") {
        if (event.target.matches(PRESSED_BY_SPACE) && event.target.id !== "talk") return;
        event.preventDefault();
        if (event.repeat || held) return;
        held = does.press();
        if (!held) does.talk();
        return;
      }
      const action = { "/": does.type, "?": does.help, s: does.settings, e: does.events }[event.key];
      if (action === undefined || event.repeat) return;
      event.preventDefault();
      action();
    });
    document.addEventListener("keyup", (event) => {
      if (event.code !== "Space") return;
      if (event.target.id === "talk") event.preventDefault(); // the click that would follow
      if (held) does.release();
      held = false;
    });
  }
}
