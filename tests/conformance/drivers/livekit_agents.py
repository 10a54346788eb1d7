"""LiveKit Agents with its plugin for OpenAI: an AgentSession with a microphone and a loudspeaker of its own."""

import asyncio
import contextlib
import time

from common import MODEL, RATE, SECONDS, URL, Microphone, report, run
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool, io
from livekit.plugins import openai


@function_tool
async def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"sunny in {city}"


class Input(io.AudioInput):
    def __init__(self):
        super().__init__(label="microphone")
        self.frames = asyncio.Queue()

    async def put(self, sound):
        self.frames.put_nowait(rtc.AudioFrame(sound, RATE, 1, len(sound) // 2))

    async def __anext__(self):
        return await self.frames.get()


class Output(io.AudioOutput):
    """Plays in real time, for nobody."""

    def __init__(self):
        super().__init__(label="loudspeaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=RATE)
        self.heard = 0.0
        self._given = 0.0
        self._since = None
        self._playing = None
        self._cut = asyncio.Event()

    async def capture_frame(self, frame):
        await super().capture_frame(frame)
        if self._since is None:
            self._since = time.time()
            self.on_playback_started(created_at=self._since)
        self._given += frame.duration
        self.heard += frame.duration

    def flush(self):
        super().flush()
        if self._since is not None and self._playing is None:
            self._playing = asyncio.create_task(self._play())

    def clear_buffer(self):
        if self._since is not None:
            self._cut.set()
            self.flush()

    async def _play(self):
        left = self._given - (time.time() - self._since)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._cut.wait(), max(0.0, left))
        position, cut = min(self._given, time.time() - self._since), self._cut.is_set()
        self._given, self._since, self._playing = 0.0, None, None
        self._cut.clear()
        self.on_playback_finished(playback_position=position, interrupted=cut)


async def until(holds):
    async with asyncio.timeout(SECONDS):
        while not holds():
            await asyncio.sleep(0.05)


async def main():
    model = openai.realtime.RealtimeModel(base_url=URL, model=MODEL or "gpt-realtime", api_key="local")
    session = AgentSession(llm=model)
    problems, heard = [], []
    session.on("error", lambda event: problems.append(str(event.error)))
    session.on("user_input_transcribed", lambda event: event.is_final and heard.append(event.transcript))
    session.input.audio, session.output.audio = Input(), Output()
    agent = Agent(instructions="Be brief.", tools=[get_weather])
    await session.start(agent=agent)

    def said(role="assistant"):
        return [m.text_content for m in session.history.items if m.type == "message" and m.role == role]

    await asyncio.wait_for(session.generate_reply(user_input="good morning"), SECONDS)
    report("text", said=said(), problems=problems)

    await asyncio.wait_for(session.generate_reply(user_input="what is the weather"), SECONDS)
    await until(lambda: any("result" in text for text in said()))
    outputs = [item.output for item in session.history.items if item.type == "function_call_output"]
    report("call", outputs=outputs, said=said(), problems=problems)

    microphone = Microphone(session.input.audio.put)
    microphone.say("question")
    await until(lambda: heard and "your name" in (said() or [""])[-1])
    report("voice", heard=heard, said=said(), problems=problems)

    speaker = session.output.audio
    before = speaker.heard
    story = session.generate_reply(user_input="tell me a story")
    await until(lambda: speaker.heard > before + 1)
    microphone.say("more")
    await asyncio.wait_for(story, SECONDS)
    await until(lambda: "fine morning" in said()[-1])
    report("interruption", interrupted=story.interrupted, said=said(), problems=problems)
    await microphone.close()
    await session.aclose()
    await model.aclose()
    report("closed", problems=problems)


run(main)
