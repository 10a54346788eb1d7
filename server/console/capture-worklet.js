// The microphone → pieces of 20 ms at 24 kHz, each with its level. Any message ends it.

import { level } from "./loudness.js";
import { Resampler } from "./resampler.js";

const RATE = 24_000;
const PIECE = RATE / 50;

class Capture extends AudioWorkletProcessor {
  #resampler = new Resampler(sampleRate, RATE);
  #piece = new Float32Array(PIECE);
  #filled = 0;
  #over = false;

  constructor() {
    super();
    this.port.onmessage = () => (this.#over = true);
  }

  process([channels]) {
    if (channels.length) this.#take(this.#resampler.process(mixed(channels)));
    return !this.#over;
  }

  #take(samples) {
    let taken = 0;
    while (taken < samples.length) {
      const some = samples.subarray(taken, taken + PIECE - this.#filled);
      this.#piece.set(some, this.#filled);
      this.#filled += some.length;
      taken += some.length;
      if (this.#filled === PIECE) this.#send();
    }
  }

  #send() {
    const samples = Int16Array.from(this.#piece, (sample) => Math.max(-1, Math.min(1, sample)) * 32767);
    this.port.postMessage({ samples, db: level(this.#piece) }, [samples.buffer]);
    this.#filled = 0;
  }
}

function mixed(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, index) => channels.reduce((sum, channel) => sum + channel[index], 0) / channels.length);
}

registerProcessor("parley-capture", Capture);
