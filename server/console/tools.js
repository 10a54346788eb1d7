// Tools that run in this page, and those that the user writes down, whose calls the user answers.

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** Samples: what the model is told of each, and what it does here. `page` is what they may touch, see main.js. */
export const SAMPLES = [
  {
    name: "get_current_time",
    description: "Tells the current local date and time.",
    parameters: { type: "object", properties: {}, required: [] },
    run: () => ({
      time: new Date().toLocaleString("en", { dateStyle: "full", timeStyle: "short" }),
      zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    }),
  },
  {
    name: "roll_dice",
    description: "Rolls dice and tells what they show.",
    parameters: {
      type: "object",
      properties: {
        count: { type: "integer", description: "How many dice, 1 to 20." },
        sides: { type: "integer", description: "How many sides each has, 2 to 1000." },
      },
      required: [],
    },
    run: ({ count = 1, sides = 6 }) => {
      const dice = Array.from({ length: within(count, 1, 20) }, () => 1 + Math.floor(Math.random() * within(sides, 2, 1000)));
      return { dice, sum: dice.reduce((sum, each) => sum + each, 0) };
    },
  },
  {
    name: "set_page_color",
    description: "Changes the accent color of the page that the user looks at.",
    parameters: {
      type: "object",
      properties: { color: { type: "string", description: "A CSS color, such as crimson or #3366cc." } },
      required: ["color"],
    },
    run: ({ color }, page) => {
      if (!CSS.supports("color", String(color))) return { error: `There is no color '${color}'.` };
      page.setAccent(String(color));
      return { done: true };
    },
  },
  {
    name: "start_timer",
    description: "Starts a timer. When it is over you are told, so that you can tell the user.",
    parameters: {
      type: "object",
      properties: {
        seconds: { type: "number", description: "After how many seconds it is over." },
        label: { type: "string", description: "What it is for." },
      },
      required: ["seconds"],
    },
    run: ({ seconds, label = "timer" }, page) => {
      const wait = within(seconds, 1, 24 * 3600);
      setTimeout(() => page.tell(`The timer '${label}' of ${wait} seconds is over. Tell the user.`), wait * 1000);
      return { started: true, seconds: wait };
    },
  },
];

/** Returns the tools of a session: the samples of these names, and the user's own. */
export function toolsFor(names, own) {
  const chosen = SAMPLES.filter((sample) => names.includes(sample.name));
  return [...chosen.map(({ name, description, parameters }) => ({ type: "function", name, description, parameters })), ...own];
}

/**
 * Reads what the user wrote: a JSON list of functions.
 * @throws {Error} with what is wrong, for the user
 */
export function readTools(text) {
  if (!text.trim()) return [];
  let tools;
  try {
    tools = JSON.parse(text);
  } catch (error) {
    throw new Error(`This is no JSON: ${error.message}`);
  }
  if (!Array.isArray(tools)) throw new Error('Tools are a list: [{"name": …, "description": …, "parameters": {…}}]');
  const taken = new Set(SAMPLES.map((sample) => sample.name));
  return tools.map((tool, index) => {
    const problem = problemOf(tool, taken);
    if (problem !== null) throw new Error(`Tool ${index + 1}: ${problem}`);
    taken.add(tool.name);
    return { type: "function", parameters: { type: "object", properties: {} }, ...tool };
  });
}

function problemOf(tool, taken) {
  if (tool === null || typeof tool !== "object" || Array.isArray(tool)) return "it is an object.";
  if ((tool.type ?? "function") !== "function") return "its `type` is \"function\".";
  if (typeof tool.name !== "string" || !NAME.test(tool.name)) {
    return "its `name` is 1 to 64 letters, digits, - and _.";
  }
  if (taken.has(tool.name)) return `there is another called '${tool.name}'.`;
  if (tool.description !== undefined && typeof tool.description !== "string") return "its `description` is a text.";
  const { parameters = {} } = tool;
  if (parameters === null || typeof parameters !== "object" || Array.isArray(parameters)) {
    return "its `parameters` are a JSON schema: {\"type\": \"object\", \"properties\": {…}}.";
  }
  return null;
}

/** Runs a call of a sample. Returns what the model is told, or null where the user has to say that. */
export function run(name, text, page) {
  const sample = SAMPLES.find((each) => each.name === name);
  if (sample === undefined) return null;
  try {
    return JSON.stringify(sample.run(JSON.parse(text || "{}") ?? {}, page));
  } catch (error) {
    return JSON.stringify({ error: `The call failed: ${error.message}` });
  }
}

function within(value, least, most) {
  const number = Math.round(Number(value));
  return Number.isFinite(number) ? Math.min(most, Math.max(least, number)) : least;
}
