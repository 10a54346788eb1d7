// The sound of replies, item after item. It counts what it has played, since only here that is known.
//
// In:  {push: item, index, samples}   more of an item's sound, Int16Array at 24 kHz
//      {finish: item}                 all of it is there
//      {stop: true}                   play nothing more of what has come
// Out: {played: item, ms}             how much of an item has been played: now and then; Infinity at its end
//      {stopped: [{item, index, ms}]} the items that lost something by a stop, and what was played of each

import { Resampler } from "./resampler.js";

const RATE = 24_000;
const TOLD_EVERY_S = 0.05;
const FADE = 0.97; // a sample: within 2 ms a cut sound is gone, without a click

class Player extends AudioWorkletProcessor {
  #tracks = [];
  #over = new Set();
  #last = 0;
  #sinceTold = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data.push !== undefined) this.#push(data);
      else if (data.finish !== undefined) this.#finish(data.finish);
      else this.#stop();
    };
  }

  process(_, [[out]]) {
    let filled = 0;
    while (this.#tracks.length && filled < out.length) {
      const track = this.#tracks[0];
      const piece = track.queue[0];
      if (piece === undefined) {
        if (!track.finished) break;
        this.#retire(track);
        continue;
      }
      const some = piece.subarray(0, out.length - filled);
      out.set(some, filled);
      filled += some.length;
      track.played += some.length;
      if (some.length === piece.length) track.queue.shift();
      else track.queue[0] = piece.subarray(some.length);
    }
    this.#fade(out, filled);
    this.#tell(out.length);
    return true;
  }

  #fade(out, from) {
    if (from > 0) this.#last = out[from - 1];
    for (let index = from; index < out.length && Math.abs(this.#last) > 1e-4; index++) {
      this.#last *= FADE;
      out[index] = this.#last;
    }
  }

  #tell(samples) {
    this.#sinceTold += samples;
    if (this.#sinceTold < TOLD_EVERY_S * sampleRate || !this.#tracks.length) return;
    this.#sinceTold = 0;
    const [track] = this.#tracks;
    this.port.postMessage({ played: track.item, ms: milliseconds(track) });
  }

  #retire(track) {
    this.#over.add(track.item);
    this.#tracks.shift();
    this.port.postMessage({ played: track.item, ms: Infinity });
  }

  #push({ push: item, index, samples }) {
    if (this.#over.has(item)) return; // it was cut
    let track = this.#tracks.find((each) => each.item === item);
    if (track === undefined) {
      for (const earlier of this.#tracks) end(earlier);
      track = { item, index, resampler: new Resampler(RATE, sampleRate), queue: [], played: 0, finished: false };
      this.#tracks.push(track);
    }
    add(track, track.resampler.process(Float32Array.from(samples, (sample) => sample / 32768)));
  }

  #finish(item) {
    const track = this.#tracks.find((each) => each.item === item);
    if (track !== undefined) end(track);
  }

  #stop() {
    const cut = this.#tracks.filter((track) => track.queue.length || !track.finished);
    for (const track of this.#tracks) this.#over.add(track.item);
    this.#tracks = [];
    this.port.postMessage({
      stopped: cut.map((track) => ({ item: track.item, index: track.index, ms: milliseconds(track) })),
    });
  }
}

function milliseconds(track) {
  return Math.floor((track.played * 1000) / sampleRate);
}

function end(track) {
  if (track.finished) return;
  track.finished = true;
  add(track, track.resampler.flush());
}

function add(track, samples) {
  if (samples.length) track.queue.push(samples.slice());
}

registerProcessor("parley-player", Player);
