"""LiveKit's plugin for OpenAI before 1.0, which speaks the older dialect."""

import asyncio

import aiohttp
from common import MODEL, RATE, SECONDS, URL, Microphone, report, run
from livekit import rtc
from livekit.agents import llm
from livekit.plugins.openai import realtime


class Functions(llm.FunctionContext):
    @llm.ai_callable(description="Tells the weather of a city.")
    async def get_weather(self, city: str) -> str:
        return f"sunny in {city}"


async def main():
    async with aiohttp.ClientSession() as http:
        model = realtime.RealtimeModel(
            base_url=URL,
            model=MODEL or "gpt-4o-realtime-preview",
            api_key="local",
            http_session=http,
            instructions="Be brief.",
            modalities=["text", "audio"],
        )
        memory = llm.ChatContext().append(role="user", text="My name is Kim.")
        memory.append(role="assistant", text="Hello Kim.")
        session = model.session(chat_ctx=memory, fnc_ctx=Functions())
        seen = {}
        arrived = asyncio.Condition()

        async def note(kind, value):
            async with arrived:
                seen.setdefault(kind, []).append(value)
                arrived.notify_all()

        tasks = set()
        for kind in (
            "session_updated",
            "error",
            "input_speech_started",
            "input_speech_transcription_completed",
            "response_content_added",
            "response_content_done",
            "response_done",
            "function_calls_finished",
        ):

            def listen(*values, kind=kind):
                task = asyncio.ensure_future(note(kind, values[0] if values else None))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

            session.on(kind, listen)

        async def wait_for(kind, count=1):
            async with asyncio.timeout(SECONDS), arrived:
                await arrived.wait_for(lambda: len(seen.get(kind, ())) >= count)
            return seen[kind][count - 1]

        def state():
            return {
                "said": [content.text for content in seen.get("response_content_done", ())],
                "problems": [str(error) for error in seen.get("error", ())],
                "memory": [str(message.content) for message in session.chat_ctx_copy().messages],
            }

        options = await wait_for("session_updated")
        await session._init_sync_task
        report(
            "session",
            temperature=options.temperature,
            instructions=options.instructions,
            turn_detection=vars(options.turn_detection),
            **state(),
        )

        await session.conversation.item.create(llm.ChatMessage.create(role="user", text="good morning"))
        session.response.create()
        await wait_for("response_done")
        report("text", **state())

        await session.conversation.item.create(llm.ChatMessage.create(role="user", text="what is the weather"))
        session.response.create()
        called = await wait_for("function_calls_finished")
        await wait_for("response_done", 3)
        report("call", result=called[0].result, **state())

        aside = {"conversation": "none", "instructions": "Classify.", "metadata": {"topic": "aside"}}
        session.response.create(**aside, modalities=["text"])
        aside = await wait_for("response_done", 4)
        report("aside", metadata=aside.metadata, **state())

        async def send(sound):
            session._push_audio(rtc.AudioFrame(sound, RATE, 1, len(sound) // 2))

        microphone = Microphone(send)
        microphone.say("question")
        transcript = await wait_for("input_speech_transcription_completed")
        await wait_for("response_done", 5)
        report("voice", heard=transcript.transcript, **state())

        await session.conversation.item.create(llm.ChatMessage.create(role="user", text="tell me a story"))
        started, contents = len(seen.get("input_speech_started", ())), len(seen["response_content_added"])
        session.response.create()
        story = await wait_for("response_content_added", contents + 1)
        async with asyncio.timeout(SECONDS):
            while len(story.audio) < 10:  # of 100 ms each
                await asyncio.sleep(0.05)
        microphone.say("more")
        await wait_for("input_speech_started", started + 1)
        session._truncate_conversation_item(story.item_id, story.content_index, 700)
        done = await wait_for("response_done", 6)
        await wait_for("response_done", 7)
        report("interruption", status=str(done.status), details=done.status_details, **state())
        await microphone.close()
        await session.aclose()
        report("closed", **state())


run(main)
