// What every driver in Node needs.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

// The packages lie in a folder of their own, not beside the driver.
export const load = createRequire(path.join(process.env.PARLEY_PACKAGES, "package.json"));

export const URL = process.env.PARLEY_URL;
export const WEBSOCKET_URL = process.env.PARLEY_WEBSOCKET_URL;
export const MODEL = process.env.PARLEY_MODEL || "gpt-realtime";
const FRAME = 960; // bytes of 20 ms: 16-bit mono at 24 kHz
const PATIENCE_MS = 40_000;

export function report(step, seen = {}) {
  console.log(JSON.stringify({ step, ...seen }).replace(/^\{"step":/, '{"step": '));
}

export function sound(name) {
  return fs.readFileSync(path.join(process.env.PARLEY_SOUNDS, `${name}.pcm`));
}

// Hands over the sound of a quiet room, and whatever is said, in frames of 20 ms and real time.
export class Microphone {
  #said = [];
  #timer;

  constructor(send) {
    const room = sound("room").subarray(0, FRAME);
    let due = performance.now();
    this.#timer = setInterval(() => {
      for (; due <= performance.now(); due += 20) send(this.#said.shift() ?? room);
    }, 10);
  }

  say(name) {
    const whole = sound(name);
    for (let start = 0; start + FRAME <= whole.length; start += FRAME) this.#said.push(whole.subarray(start, start + FRAME));
  }

  close() {
    clearInterval(this.#timer);
  }
}

// Collects what arrives, so that each can be waited for.
export class Watch {
  seen = [];
  #waiting = new Set();

  see(type, value) {
    this.seen.push({ type, value });
    for (const check of [...this.#waiting]) check();
  }

  of(type) {
    return this.seen.filter((each) => each.type === type).map((each) => each.value);
  }

  waitFor(type, count = 1) {
    return this.until(() => this.of(type).length >= count, `${type} #${count}`).then(() => this.of(type)[count - 1]);
  }

  until(holds, what) {
    return new Promise((resolve, reject) => {
      const last = () => JSON.stringify(this.seen.slice(-8).map((each) => each.type));
      const timer = setTimeout(() => reject(new Error(`no ${what}; last: ${last()}`)), PATIENCE_MS);
      const check = () => {
        if (!holds()) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
      check();
    });
  }
}

export async function run(main) {
  try {
    await main();
    process.exit(0);
  } catch (problem) {
    report("failed", { problem: String(problem), where: problem?.stack });
    process.exit(1);
  }
}
