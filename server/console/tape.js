// The sound of the last seconds as a strip: what you say below the line, what is answered above it.

const STEP = 4; // CSS pixels a column
const GAP = 1.5;
const FLOOR_DB = -55;

export class Tape {
  #canvas;
  #columns = [];
  #mine = FLOOR_DB;
  #theirs = FLOOR_DB;
  #pieces = 0;
  #moved = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#fit()).observe(canvas);
  }

  /** The microphone's level; each moves the tape on. */
  said(db) {
    this.#mine = Math.max(this.#mine, db);
    if (++this.#pieces % 2 === 0) this.#advance();
  }

  /** The loudspeaker's level. */
  heard(db) {
    this.#theirs = Math.max(this.#theirs, db);
    // Without a microphone the reply itself moves the tape.
    if (performance.now() - this.#moved > 60) this.#advance();
  }

  redraw() {
    const { width, height } = this.#canvas;
    const scale = window.devicePixelRatio || 1;
    const style = getComputedStyle(this.#canvas);
    const context = this.#canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const middle = Math.round(height / 2);
    context.fillStyle = style.getPropertyValue("--line");
    context.fillRect(0, middle, width, scale);
    this.#columns.forEach(([mine, theirs], index) => {
      const x = width - (this.#columns.length - index) * STEP * scale;
      bar(context, style.getPropertyValue("--ink"), x, middle - theirs * middle, theirs * middle, scale);
      bar(context, style.getPropertyValue("--accent"), x, middle + scale, mine * (height - middle), scale);
    });
  }

  #advance() {
    this.#moved = performance.now();
    this.#columns.push([share(this.#mine), share(this.#theirs)]);
    this.#mine = this.#theirs = FLOOR_DB;
    const most = Math.ceil(this.#canvas.clientWidth / STEP) + 1;
    if (this.#columns.length > most) this.#columns.splice(0, this.#columns.length - most);
    this.redraw();
  }

  #fit() {
    const scale = window.devicePixelRatio || 1;
    this.#canvas.width = Math.round(this.#canvas.clientWidth * scale);
    this.#canvas.height = Math.round(this.#canvas.clientHeight * scale);
    this.redraw();
  }
}

function bar(context, colour, x, y, height, scale) {
  if (height < 0.5) return;
  context.fillStyle = colour;
  context.fillRect(x, y, (STEP - GAP) * scale, height);
}

/** A level as a share of the strip's half. */
function share(db) {
  return Math.max(0, Math.min(0.9, 1 - (db + 6) / (FLOOR_DB + 6)));
}
