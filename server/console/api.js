// What the page asks of the server over HTTP, and the server's key, which is kept for as long as the tab is open.

const KEY = "parley.key";

/** The server cannot be used. `kind`: "key", "away" or "refused". The message is for the user. */
export class Unusable extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

export function keepKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

function headers() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/**
 * Asks the server.
 * @throws {Unusable} it is not there, wants a key, or says no
 */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options, headers: { ...headers(), ...options.headers } });
  } catch {
    throw new Unusable("away", "The server does not answer.");
  }
  if (answer.ok) return answer;
  const said = await answer.json().then((body) => body.error?.message, () => null);
  if (answer.status === 401) throw new Unusable("key", said ?? "The server asks for a key.");
  throw new Unusable("refused", said ?? `The server answers ${answer.status} ${answer.statusText}.`);
}

/** Returns the loaded pipelines, the default first; see server/rest/models.py. */
export async function pipelines() {
  const { data } = await (await ask("/v1/models")).json();
  return data.filter((model) => model.id === model.pipeline).sort((a, b) => Number(b.default) - Number(a.default));
}

/**
 * Returns a key for one session, where the server asks for a key: its own must stand in no URL and in no subprotocol
 * (and there are keys that a subprotocol cannot carry). Null where it asks for none.
 */
export async function sessionKey(model) {
  if (!hasKey()) return null;
  const answer = await ask("/v1/realtime/client_secrets", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ expires_after: { anchor: "created_at", seconds: 60 }, session: { type: "realtime", model } }),
  });
  return (await answer.json()).value;
}
