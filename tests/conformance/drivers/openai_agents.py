"""OpenAI's Agents SDK for Python: a runner, a session, a function, and a user who interrupts."""

import asyncio

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner
from common import MODEL, SECONDS, WEBSOCKET_URL, Microphone, report, run


@function_tool
def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"sunny in {city}"


class Watch:
    """Collects the session's events, so that each can be waited for."""

    def __init__(self, session):
        self.events = []
        self._session = session
        self._arrived = asyncio.Condition()
        self._task = asyncio.create_task(self._read())

    async def _read(self):
        async for event in self._session:
            async with self._arrived:
                self.events.append(event)
                self._arrived.notify_all()

    async def wait_for(self, kind, count=1):
        async with asyncio.timeout(SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]

    async def raw(self, kind, count=1):
        """Waits for an event of the model layer."""
        found = lambda: [e.data for e in self.of("raw_model_event") if e.data.type == kind]  # noqa: E731
        async with asyncio.timeout(SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: len(found()) >= count)
        return found()[count - 1]

    def of(self, kind):
        return [event for event in self.events if event.type == kind]

    def errors(self):
        return [str(event.error) for event in self.of("error")]

    def sound(self):
        return sum(len(event.audio.data) for event in self.of("audio"))


def texts(history, role):
    """What a side said, by the client's own history."""
    said = []
    for item in history:
        if item.type == "message" and item.role == role:
            for part in item.content:
                said.append(getattr(part, "transcript", None) or getattr(part, "text", None) or "")
    return said


async def main():
    agent = RealtimeAgent(name="Assistant", instructions="Be brief.", tools=[get_weather])
    settings = {"model_name": MODEL} if MODEL else {}
    config = {
        "url": f"{WEBSOCKET_URL}/realtime?model={MODEL}" if MODEL else f"{WEBSOCKET_URL}/realtime",
        "api_key": "local",
        "initial_model_settings": settings,
    }
    async with await RealtimeRunner(agent).run(model_config=config) as session:
        watch = Watch(session)
        await session.send_message("good morning")
        await watch.wait_for("agent_end")
        report("text", said=texts(session._history, "assistant"), sound=watch.sound(), errors=watch.errors())

        await session.send_message("what is the weather")
        call = await watch.wait_for("tool_end")
        await watch.wait_for("agent_end", 3)
        report("call", output=str(call.output), said=texts(session._history, "assistant"), errors=watch.errors())

        microphone = Microphone(session.send_audio)
        microphone.say("question")
        done = len(watch.of("agent_end")) + 1
        await watch.wait_for("agent_end", done)
        heard = await watch.raw("input_audio_transcription_completed")
        report("voice", heard=heard.transcript, said=texts(session._history, "assistant"), errors=watch.errors())

        before = watch.sound()
        await session.send_message("tell me a story")
        while watch.sound() < before + 48_000:
            await asyncio.sleep(0.05)
        microphone.say("more")
        await watch.wait_for("audio_interrupted")
        await watch.wait_for("agent_end", done + 2)
        report("interruption", said=texts(session._history, "assistant"), errors=watch.errors())
        await microphone.close()
    report("closed", errors=watch.errors())


run(main)
