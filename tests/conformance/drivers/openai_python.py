"""The `openai` package for Python, in GA and, with PARLEY_BETA, in the older dialect."""

import asyncio
import base64
import os

from common import MODEL, SECONDS, URL, WEBSOCKET_URL, Microphone, report, run
from openai import AsyncOpenAI

BETA = "PARLEY_BETA" in os.environ
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SOUND = "response.audio.delta" if BETA else "response.output_audio.delta"
WORDS = "response.audio_transcript.done" if BETA else "response.output_audio_transcript.done"
TEXT = "response.text.done" if BETA else "response.output_text.done"
TRANSCRIPT = "conversation.item.input_audio_transcription.completed"


class Watch:
    """Collects the typed events of a connection, so that each can be waited for."""

    def __init__(self, connection):
        self.events = []
        self._connection = connection
        self._arrived = asyncio.Condition()
        self.task = asyncio.create_task(self._read())

    async def _read(self):
        async for event in self._connection:
            async with self._arrived:
                self.events.append(event)
                self._arrived.notify_all()

    def of(self, kind):
        return [event for event in self.events if event.type == kind]

    async def wait_for(self, kind, count=1):
        async with asyncio.timeout(SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]

    def problems(self):
        return [event.error.message for event in self.of("error")]


def settings(**given):
    return given if BETA else {"type": "realtime", **given}


def modalities(*names):
    return {"modalities": list(names)} if BETA else {"output_modalities": [names[-1]]}


async def send_by(connection, frame):
    await connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())


async def main():
    # In beta the package makes wss:// of any URL but this one.
    more = {"websocket_base_url": WEBSOCKET_URL} if BETA else {}
    client = AsyncOpenAI(base_url=URL, api_key="local", **more)
    realtime = client.beta.realtime if BETA else client.realtime
    async with realtime.connect(model=MODEL) as connection:
        watch = Watch(connection)
        responses = 0

        async def write(text):
            content = [{"type": "input_text", "text": text}]
            await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})

        async def done():
            nonlocal responses
            responses += 1
            return (await watch.wait_for("response.done", responses)).response

        await watch.wait_for("session.created")
        await connection.session.update(session=settings(**modalities("text"), tools=[TOOL]))
        await watch.wait_for("session.updated")
        await write("good morning")
        await connection.response.create()
        await done()
        report("text", said=[event.text for event in watch.of(TEXT)])

        await write("what is the weather")
        await connection.response.create()
        (call,) = (await done()).output
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        await connection.conversation.item.create(item=output)
        await connection.response.create()
        await done()
        report("call", call=call.model_dump(), said=watch.of(TEXT)[-1].text)

        aside = {"conversation": "none", "metadata": {"topic": "aside"}, "instructions": "Classify."}
        await connection.response.create(response={**aside, **modalities("text")})
        response = await done()
        report("aside", metadata=response.metadata, conversation=response.conversation_id)

        await connection.session.update(session=settings(**modalities("text", "audio")))
        await watch.wait_for("session.updated", 2)

        microphone = Microphone(lambda frame: send_by(connection, frame))
        microphone.say("question")
        await done()
        heard = await watch.wait_for(TRANSCRIPT)
        said = [event.transcript for event in watch.of(WORDS)]
        size = sum(len(base64.b64decode(event.delta)) for event in watch.of(SOUND))
        report("voice", heard=heard.transcript, said=said, bytes=size)

        sounds, started = len(watch.of(SOUND)), len(watch.of("input_audio_buffer.speech_started"))
        await write("tell me a story")
        await connection.response.create()
        delta = await watch.wait_for(SOUND, sounds + 10)  # of 100 ms each
        microphone.say("more")
        await watch.wait_for("input_audio_buffer.speech_started", started + 1)
        await connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=700)
        await watch.wait_for("conversation.item.truncated")
        story = await done()
        await done()
        await connection.conversation.item.retrieve(item_id=delta.item_id)
        item = (await watch.wait_for("conversation.item.retrieved")).item
        report(
            "interruption",
            status=story.status,
            reason=story.status_details.reason,
            kept=item.content[0].transcript,
            said=watch.of(WORDS)[-1].transcript,
            problems=watch.problems(),
        )
        await microphone.close()
    await asyncio.wait_for(watch.task, SECONDS)
    report("closed", code=1000)

    async with realtime.connect(model=MODEL, extra_query={"intent": "transcription"}) as connection:
        watch = Watch(connection)
        microphone = Microphone(lambda frame: send_by(connection, frame))
        microphone.say("question")
        heard = await watch.wait_for(TRANSCRIPT)
        report("transcription", heard=heard.transcript, problems=watch.problems())
        await microphone.close()


run(main)
