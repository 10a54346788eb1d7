// Says how loud the sound is that passes, and when it begins and ends: {db} or {sounding, db}. Any message ends it.

import { level } from "./loudness.js";

const PIECE_S = 0.02;
const AUDIBLE_DB = -60;
const QUIET_PIECES = 2; // pauses between words are told as quiet too: whoever listens decides what they mean

class Meter extends AudioWorkletProcessor {
  #pieces = [];
  #length = 0;
  #sounding = false;
  #quiet = 0;
  #over = false;

  constructor() {
    super();
    this.port.onmessage = () => (this.#over = true);
  }

  process([input], [output]) {
    const channel = input[0];
    const samples = channel ?? new Float32Array(128);
    input.forEach((each, index) => output[index]?.set(each));
    this.#pieces.push(samples.slice());
    this.#length += samples.length;
    if (this.#length >= PIECE_S * sampleRate) this.#judge();
    return !this.#over;
  }

  #judge() {
    const whole = new Float32Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [];
    this.#length = 0;
    const db = level(whole);
    this.#quiet = db > AUDIBLE_DB ? 0 : this.#quiet + 1;
    const sounding = this.#quiet < QUIET_PIECES && (this.#sounding || db > AUDIBLE_DB);
    if (sounding !== this.#sounding) {
      this.#sounding = sounding;
      this.port.postMessage({ sounding, db });
    } else if (sounding) {
      this.port.postMessage({ db });
    }
  }
}

registerProcessor("parley-meter", Meter);
