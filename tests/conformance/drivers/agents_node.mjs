// OpenAI's Agents SDK for JavaScript, over its WebSocket transport.

import { load, Microphone, MODEL, report, run, Watch, WEBSOCKET_URL } from "./common.mjs";

const { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } = load("@openai/agents-realtime");

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

function said(history, role) {
  const messages = history.filter((item) => item.type === "message" && item.role === role);
  return messages.flatMap((item) => item.content.map((part) => part.transcript ?? part.text ?? ""));
}

async function main() {
  const agent = new RealtimeAgent({ name: "Assistant", instructions: "Be brief.", tools: [getWeather] });
  const transport = new OpenAIRealtimeWebSocket({ url: `${WEBSOCKET_URL}/realtime?model=${MODEL}` });
  const session = new RealtimeSession(agent, { transport, model: MODEL });
  const watch = new Watch();
  for (const name of ["agent_end", "agent_tool_end", "audio", "audio_interrupted", "error", "transport_event"])
    session.on(name, (...values) => watch.see(name, name === "transport_event" ? values[0] : values));
  const problems = () => watch.of("error").map(([problem]) => JSON.stringify(problem));
  const transcripts = () =>
    watch.of("transport_event").filter((each) => each.type === "conversation.item.input_audio_transcription.completed");
  const bytes = () => watch.of("audio").reduce((sum, [each]) => sum + each.data.byteLength, 0);

  await session.connect({ apiKey: "local" });
  session.sendMessage("good morning");
  await watch.waitFor("agent_end");
  report("text", { said: said(session.history, "assistant"), bytes: bytes(), problems: problems() });

  session.sendMessage("what is the weather");
  const [, , , output] = await watch.waitFor("agent_tool_end");
  await watch.waitFor("agent_end", 3);
  report("call", { output, said: said(session.history, "assistant"), problems: problems() });

  const microphone = new Microphone((frame) => session.sendAudio(new Uint8Array(frame).buffer));
  microphone.say("question");
  await watch.waitFor("agent_end", 4);
  await watch.until(() => transcripts().length > 0, "transcript");
  report("voice", { heard: transcripts()[0].transcript, said: said(session.history, "assistant"), problems: problems() });

  const before = bytes();
  session.sendMessage("tell me a story");
  await watch.until(() => bytes() > before + 48_000, "a second of the story");
  const interruptions = watch.of("audio_interrupted").length;
  microphone.say("more");
  await watch.waitFor("audio_interrupted", interruptions + 1);
  await watch.waitFor("agent_end", 6);
  report("interruption", { said: said(session.history, "assistant"), problems: problems() });
  microphone.close();
  session.close();
  report("closed", { status: transport.status, problems: problems() });
}

run(main);
