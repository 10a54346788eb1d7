// The sound of this page: one audio context with the loudspeaker (replies as PCM, or as a stream of WebRTC) and the
// microphone. What is heard and said is told by callbacks, as it happens.

const VOICE_DB = -42; // over it somebody probably speaks: for telling how soon an interruption worked, nothing else
const CALM_PIECES = 15; // 300 ms

export class Sound {
  #context = null;
  #player = null;
  #meter = null;
  #microphone = null;
  #stopping = null;
  #remote = null;

  /**
   * @param {object} told
   * @param {(samples: Int16Array, db: number) => void} told.onMicrophone  20 ms at 24 kHz
   * @param {(at: number) => void} told.onVoice  a voice begins, after quiet; moments are those of performance.now()
   * @param {() => void} told.onMicrophoneEnd  the device has gone away
   * @param {(item: string, ms: number) => void} told.onPlayed
   * @param {(sounding: boolean, at: number) => void} told.onSounding  what comes out begins, or ends
   * @param {(db: number) => void} told.onLevel  of what comes out
   */
  constructor(told) {
    this.told = told;
  }

  /** Whether this page may have sound: browsers keep it from pages that come neither from this machine nor by https. */
  get possible() {
    return "audioWorklet" in AudioContext.prototype;
  }

  /** Gets ready to play; browsers want that to begin with a click or a key. */
  async open() {
    if (!this.possible) return;
    if (this.#context === null) {
      const context = new AudioContext({ latencyHint: "interactive" });
      this.#context = context;
      const worklets = ["capture", "player", "meter"];
      await Promise.all(worklets.map((name) => context.audioWorklet.addModule(here(`${name}-worklet.js`))));
      this.#player = new AudioWorkletNode(context, "parley-player", { numberOfInputs: 0, outputChannelCount: [1] });
      this.#meter = new AudioWorkletNode(context, "parley-meter");
      this.#player.connect(this.#meter).connect(context.destination);
      this.#player.port.onmessage = ({ data }) => this.#fromPlayer(data);
      this.#meter.port.onmessage = ({ data }) => this.#fromMeter(data);
    }
    await this.#context.resume();
  }

  /** Adds to an item's sound, Int16Array at 24 kHz. */
  push(item, index, samples) {
    this.#player?.port.postMessage({ push: item, index, samples }, [samples.buffer]);
  }

  finish(item) {
    this.#player?.port.postMessage({ finish: item });
  }

  /** Stops at once. Returns the items that were cut, `[{item, index, ms}]`, with what was heard of each. */
  stop() {
    if (this.#player === null) return Promise.resolve([]);
    this.#stopping ??= deferred();
    this.#player.port.postMessage({ stop: true });
    return this.#stopping.promise;
  }

  /** Plays a stream of WebRTC in place of items. */
  playStream(stream) {
    // The element plays it, since browsers cancel the echo of what elements play; the context only listens in.
    const element = new Audio();
    element.srcObject = stream;
    void element.play().catch(() => {});
    const listening = this.#context.createMediaStreamSource(stream);
    const silent = this.#context.createGain();
    silent.gain.value = 0;
    const meter = new AudioWorkletNode(this.#context, "parley-meter");
    listening.connect(meter).connect(silent).connect(this.#context.destination);
    meter.port.onmessage = ({ data }) => this.#fromMeter(data);
    this.#remote = { stream, element, listening, meter };
  }

  /** Silences the stream at once, or no longer: what is still on its way would be heard else. */
  hushStream(hushed) {
    for (const track of this.#remote?.stream.getAudioTracks() ?? []) track.enabled = !hushed;
  }

  stopStream() {
    if (this.#remote === null) return;
    const { element, listening, meter } = this.#remote;
    this.#remote = null;
    element.pause();
    element.srcObject = null;
    listening.disconnect();
    meter.disconnect();
    meter.port.postMessage("end");
    meter.port.onmessage = null;
  }

  get microphone() {
    return this.#microphone;
  }

  /**
   * Opens the microphone; `device` is the id of one, or "".
   * @throws {DOMException} as of getUserMedia, see problems.js
   */
  async openMicrophone(device) {
    if (!navigator.mediaDevices) throw new DOMException("not a secure context", "SecurityError");
    const wanted = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
    if (device) wanted.deviceId = { ideal: device };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    this.closeMicrophone();
    const track = stream.getAudioTracks()[0];
    const source = this.#context.createMediaStreamSource(stream);
    const capture = new AudioWorkletNode(this.#context, "parley-capture");
    // It puts nothing out; but there are browsers that run only what leads to the loudspeaker.
    source.connect(capture).connect(this.#context.destination);
    const microphone = { stream, track, source, capture, calm: 0 };
    capture.port.onmessage = ({ data }) => this.#fromMicrophone(microphone, data);
    track.onended = () => {
      this.closeMicrophone();
      this.told.onMicrophoneEnd();
    };
    this.#microphone = microphone;
    return track;
  }

  closeMicrophone() {
    if (this.#microphone === null) return;
    const { track, source, capture } = this.#microphone;
    this.#microphone = null;
    track.onended = null;
    track.stop();
    source.disconnect();
    capture.disconnect();
    capture.port.postMessage("end");
    capture.port.onmessage = null;
  }

  /** Closed, it hears silence; the track goes on. */
  hear(open) {
    if (this.#microphone !== null) this.#microphone.track.enabled = open;
  }

  #fromMicrophone(microphone, { samples, db }) {
    if (microphone !== this.#microphone) return;
    if (db > VOICE_DB) {
      if (microphone.calm >= CALM_PIECES) this.told.onVoice(performance.now() - 20);
      microphone.calm = 0;
    } else {
      microphone.calm += 1;
    }
    this.told.onMicrophone(samples, db);
  }

  #fromPlayer({ played, ms, stopped }) {
    const late = this.#context.outputLatency * 1000 || 0;
    if (stopped === undefined) {
      this.told.onPlayed(played, Math.max(0, ms - late));
      return;
    }
    const cuts = stopped.map((cut) => ({ ...cut, ms: Math.max(0, Math.floor(cut.ms - late)) }));
    this.#stopping?.resolve(cuts);
    this.#stopping = null;
  }

  #fromMeter({ sounding, db }) {
    if (sounding !== undefined) this.told.onSounding(sounding, performance.now());
    this.told.onLevel(db);
  }
}

function here(name) {
  return new URL(name, import.meta.url);
}

function deferred() {
  const it = {};
  it.promise = new Promise((resolve, reject) => Object.assign(it, { resolve, reject }));
  return it;
}
