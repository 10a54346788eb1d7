// Sound at one rate → sound at another, piece by piece and without seams: a windowed sinc, one filter for each of the
// fractions of a sample at which an output can lie.

const ZERO_CROSSINGS = 16; // on each side; with the Blackman window about 74 dB of stop band
const PASS = 0.94; // of the lower of the two bands: what is left is for the filter's slope

export class Resampler {
  #taps;
  #half;
  #step;
  #phases;
  #kept;
  #at;
  #phase = 0;

  /** Rates are whole samples a second. */
  constructor(from, to) {
    const divisor = gcd(from, to);
    this.#step = from / divisor;
    this.#phases = to / divisor;
    const band = Math.min(1, to / from) * PASS;
    this.#half = Math.ceil(ZERO_CROSSINGS / band);
    this.#taps = from === to ? null : Array.from({ length: this.#phases }, (_, phase) => this.#filter(phase, band));
    this.#kept = new Float32Array(this.#half - 1);
    this.#at = this.#half - 1;
  }

  /** Takes Float32Array [n] and returns what can be said of it; the last fraction of a millisecond waits for more. */
  process(samples) {
    if (this.#taps === null) return samples;
    const sound = new Float32Array(this.#kept.length + samples.length);
    sound.set(this.#kept);
    sound.set(samples, this.#kept.length);
    const made = new Float32Array(Math.ceil((sound.length * this.#phases) / this.#step) + 1);
    let count = 0;
    while (this.#at + this.#half < sound.length) {
      const taps = this.#taps[this.#phase];
      const first = this.#at - this.#half + 1;
      let sum = 0;
      for (let index = 0; index < taps.length; index++) sum += taps[index] * sound[first + index];
      made[count++] = sum;
      this.#phase += this.#step;
      this.#at += Math.floor(this.#phase / this.#phases);
      this.#phase %= this.#phases;
    }
    const first = Math.min(this.#at - this.#half + 1, sound.length);
    this.#kept = sound.slice(first);
    this.#at -= first;
    return made.subarray(0, count);
  }

  /** Returns what was kept back, at the end of a sound. */
  flush() {
    return this.#taps === null ? new Float32Array(0) : this.process(new Float32Array(this.#half));
  }

  #filter(phase, band) {
    const taps = new Float32Array(2 * this.#half);
    let sum = 0;
    for (let index = 0; index < taps.length; index++) {
      const x = index - (this.#half - 1) - phase / this.#phases;
      taps[index] = sinc(band * x) * blackman(x / this.#half);
      sum += taps[index];
    }
    return taps.map((tap) => tap / sum);
  }
}

function gcd(a, b) {
  return b === 0 ? a : gcd(b, a % b);
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** The window at x in -1 … 1. */
function blackman(x) {
  return Math.abs(x) >= 1 ? 0 : 0.42 + 0.5 * Math.cos(Math.PI * x) + 0.08 * Math.cos(2 * Math.PI * x);
}
