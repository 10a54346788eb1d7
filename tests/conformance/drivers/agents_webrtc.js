// OpenAI's Agents SDK for JavaScript in a page, over its WebRTC transport. `start` is called by the test.

import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession, tool } from "/bundle/openai-realtime-agents.mjs";

const getWeather = tool({
  name: "get_weather",
  description: "Tells the weather of a city.",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
  strict: true,
  execute: async ({ city }) => `sunny in ${city}`,
});

/** Connects with an ephemeral key, and keeps every event that the server sends. */
window.start = async (server, model) => {
  const asked = await fetch(`${server}/v1/realtime/client_secrets`, {
    method: "POST",
    headers: { Authorization: "Bearer local", "Content-Type": "application/json" },
    body: JSON.stringify({ session: { type: "realtime", model } }),
  });
  const { value: apiKey } = await asked.json();
  const agent = new RealtimeAgent({ name: "Assistant", instructions: "Be brief.", tools: [getWeather] });
  window.peer = undefined;
  const transport = new OpenAIRealtimeWebRTC({
    baseUrl: `${server}/v1/realtime/calls`,
    audioElement: document.querySelector("audio"),
    changePeerConnection: (peer) => (window.peer = peer),
  });
  const session = new RealtimeSession(agent, { transport, model });
  window.seen = [];
  window.problems = [];
  session.on("transport_event", (event) => window.seen.push(event));
  session.on("error", (problem) => window.problems.push(JSON.stringify(problem)));
  await session.connect({ apiKey });
  window.session = session;
  return transport.callId;
};

/** How much sound has been received, by the browser's own measure. */
window.energy = async () => {
  for (const report of (await window.peer.getStats()).values())
    if (report.type === "inbound-rtp" && report.kind === "audio") return report.totalAudioEnergy;
  return 0;
};

window.ready = true;
