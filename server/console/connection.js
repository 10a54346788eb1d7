// The connection to the server, opened again when it is lost: at once, then less and less often.

const WAITS_S = [0.5, 1, 2, 4, 8, 15];

export class Connection {
  state = "off";
  #dial = null;
  #transport = null;
  #failures = 0;
  #timer = null;
  #told;

  /**
   * @param {object} told
   * @param {(state: "off" | "connecting" | "on" | "waiting", detail: {seconds?: number, error?: Error}) => void} told.onState
   * @param {(event: object) => void} told.onEvent
   */
  constructor(told) {
    this.#told = told;
    window.addEventListener("online", () => this.retry());
  }

  get carriesSound() {
    return this.#transport?.carriesSound ?? false;
  }

  get transport() {
    return this.#transport;
  }

  /** Opens it, for good: until `close`. `dial` opens a transport, see transports.js. */
  open(dial) {
    this.close();
    this.#dial = dial;
    this.#failures = 0;
    return this.#try();
  }

  send(event) {
    return this.#transport?.send(event);
  }

  close() {
    this.#dial = null;
    clearTimeout(this.#timer);
    this.#transport?.close();
    this.#transport = null;
    this.#become("off");
  }

  /** Tries now, if it waits to. */
  retry() {
    if (this.state !== "waiting") return;
    clearTimeout(this.#timer);
    void this.#try();
  }

  async #try() {
    const dial = this.#dial;
    this.#become("connecting");
    try {
      const transport = await dial({
        onEvent: (event) => dial === this.#dial && this.#told.onEvent(event),
        onClose: () => dial === this.#dial && this.#lost(),
      });
      if (dial !== this.#dial) {
        transport.close();
        return;
      }
      this.#transport = transport;
      this.#failures = 0;
      this.#become("on");
    } catch (error) {
      if (dial !== this.#dial) return;
      if (error.kind === "away") this.#lost();
      else {
        this.close();
        this.#told.onState("off", { error });
      }
    }
  }

  #lost() {
    this.#transport?.close();
    this.#transport = null;
    const seconds = WAITS_S[Math.min(this.#failures++, WAITS_S.length - 1)];
    this.#timer = setTimeout(() => void this.#try(), seconds * 1000);
    this.#become("waiting", { seconds });
  }

  #become(state, detail = {}) {
    if (state === "off" && this.state === "off") return;
    this.state = state;
    this.#told.onState(state, detail);
  }
}
