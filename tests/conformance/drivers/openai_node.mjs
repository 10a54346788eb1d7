// The `openai` package for JavaScript, in GA and, with PARLEY_BETA, in the older dialect.

import { load, Microphone, MODEL, report, run, URL, Watch } from "./common.mjs";

const { OpenAI } = load("openai");
const BETA = "PARLEY_BETA" in process.env;
const { OpenAIRealtimeWS } = load(BETA ? "openai/beta/realtime/ws" : "openai/realtime/ws");

const TOOL = {
  type: "function",
  name: "get_weather",
  description: "Tells the weather of a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const SOUND = BETA ? "response.audio.delta" : "response.output_audio.delta";
const WORDS = BETA ? "response.audio_transcript.done" : "response.output_audio_transcript.done";
const TEXT = BETA ? "response.text.done" : "response.output_text.done";

const settings = (given) => (BETA ? given : { type: "realtime", ...given });
const modalities = (...names) => (BETA ? { modalities: names } : { output_modalities: [names.at(-1)] });

async function main() {
  const client = new OpenAI({ baseURL: URL, apiKey: "local" });
  const realtime = new OpenAIRealtimeWS({ model: MODEL }, client);
  const watch = new Watch();
  realtime.on("event", (event) => watch.see(event.type, event));
  realtime.on("error", (error) => watch.see("problem", error.message));
  const write = (text) => {
    const content = [{ type: "input_text", text }];
    realtime.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  };
  let responses = 0;
  const done = async () => (await watch.waitFor("response.done", ++responses)).response;
  const problems = () => watch.of("problem");

  await watch.waitFor("session.created");
  realtime.send({ type: "session.update", session: settings({ ...modalities("text"), tools: [TOOL] }) });
  await watch.waitFor("session.updated");
  write("good morning");
  realtime.send({ type: "response.create" });
  await done();
  report("text", { said: watch.of(TEXT).map((each) => each.text), problems: problems() });

  write("what is the weather");
  realtime.send({ type: "response.create" });
  const [call] = (await done()).output;
  const output = { type: "function_call_output", call_id: call.call_id, output: "sunny" };
  realtime.send({ type: "conversation.item.create", item: output });
  realtime.send({ type: "response.create" });
  await done();
  report("call", { call, said: watch.of(TEXT).at(-1).text, problems: problems() });

  realtime.send({
    type: "response.create",
    response: { conversation: "none", ...modalities("text"), metadata: { topic: "aside" }, instructions: "Classify." },
  });
  const aside = await done();
  report("aside", { metadata: aside.metadata, conversation: aside.conversation_id ?? null });

  realtime.send({ type: "session.update", session: settings(modalities("text", "audio")) });
  await watch.waitFor("session.updated", 2);
  const microphone = new Microphone((frame) =>
    realtime.send({ type: "input_audio_buffer.append", audio: frame.toString("base64") }),
  );
  microphone.say("question");
  await done();
  const heard = await watch.waitFor("conversation.item.input_audio_transcription.completed");
  const bytes = watch.of(SOUND).reduce((sum, each) => sum + Buffer.from(each.delta, "base64").length, 0);
  report("voice", { heard: heard.transcript, said: watch.of(WORDS).map((each) => each.transcript), bytes, problems: problems() });

  const sounds = watch.of(SOUND).length;
  write("tell me a story");
  realtime.send({ type: "response.create" });
  const delta = await watch.waitFor(SOUND, sounds + 10); // of 100 ms each
  const started = watch.of("input_audio_buffer.speech_started").length;
  microphone.say("more");
  await watch.waitFor("input_audio_buffer.speech_started", started + 1);
  realtime.send({ type: "conversation.item.truncate", item_id: delta.item_id, content_index: 0, audio_end_ms: 700 });
  await watch.waitFor("conversation.item.truncated");
  const story = await done();
  await done();
  realtime.send({ type: "conversation.item.retrieve", item_id: delta.item_id });
  const { item } = await watch.waitFor("conversation.item.retrieved");
  report("interruption", {
    status: story.status,
    reason: story.status_details?.reason ?? null,
    kept: item.content[0].transcript,
    said: watch.of(WORDS).at(-1).transcript,
    problems: problems(),
  });
  microphone.close();
  realtime.close();
  await new Promise((resolve) => realtime.socket.on("close", (code) => resolve(report("closed", { code }))));
  if (!BETA) await transcribe(client);
}

// With an ephemeral key that begins a transcription session.
async function transcribe(client) {
  const transcription = { model: "gpt-4o-transcribe", language: "en" };
  const session = { type: "transcription", audio: { input: { transcription } } };
  const secret = await client.realtime.clientSecrets.create({ session });
  const realtime = new OpenAIRealtimeWS({ model: MODEL }, new OpenAI({ baseURL: URL, apiKey: secret.value }));
  const watch = new Watch();
  realtime.on("event", (event) => watch.see(event.type, event));
  realtime.on("error", (error) => watch.see("problem", error.message));
  await watch.waitFor("session.created");
  const microphone = new Microphone((frame) =>
    realtime.send({ type: "input_audio_buffer.append", audio: frame.toString("base64") }),
  );
  microphone.say("question");
  const heard = await watch.waitFor("conversation.item.input_audio_transcription.completed");
  report("transcription", { heard: heard.transcript, problems: watch.of("problem") });
  microphone.close();
  realtime.close();
}

run(main);
