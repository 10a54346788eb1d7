"""A spoken question in, a spoken answer out, through the `openai` package."""

import asyncio
import re

import numpy as np
import soxr

from tests.e2e.client import RATE, connect, spoken, understood
from tests.e2e.conftest import Server
from tests.e2e.ears import hear
from tests.speech import silence, word_errors

QUESTION = "what is your name"

ORDER = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


async def test_a_spoken_question_is_answered_in_sound_and_in_the_order_of_the_protocol(server: Server) -> None:
    async with connect(server.port) as client:
        client.open_microphone()
        client.say(spoken(QUESTION))
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        assert understood(QUESTION, client.transcripts()[0])

        order = [kind for kind in client.kinds if kind != "session.created" and "transcription" not in kind]
        firsts = [kind for index, kind in enumerate(order) if "delta" not in kind or kind not in order[:index]]
        assert firsts == ORDER

        usage = done["response"]["usage"]
        assert usage["input_token_details"]["text_tokens"] > 0
        assert usage["input_token_details"]["audio_tokens"] > 10
        sound = client.answer_sound(done["response"]["id"])
        assert usage["output_token_details"]["audio_tokens"] == -(-len(sound) // (RATE // 20))


async def test_the_sound_of_the_answer_has_its_words(server: Server) -> None:
    async with connect(server.port) as client:
        client.open_microphone()
        client.say(spoken(QUESTION))
        done = await client.wait_for("response.done")
        answer = client.answers()[0].lower()
        assert "parley" in answer
        sound = client.answer_sound(done["response"]["id"])
        heard = hear(soxr.resample(sound, RATE, 16_000).astype(np.int16))
        assert set(heard.split()) & set(re.findall(r"[a-z']+", answer)), f"{answer!r} was heard as {heard!r}"


async def test_a_capital_asked_for_by_voice_comes_back_in_words_and_in_sound(server: Server) -> None:
    async with connect(server.port) as client:
        client.open_microphone()
        client.say(spoken("what is the capital of russia"))
        done = await client.wait_for("response.done")
        assert "Moscow" in client.answers()[0]
        sound = client.answer_sound(done["response"]["id"])
        heard = hear(soxr.resample(sound, RATE, 16_000).astype(np.int16))
        assert "moscow" in heard.split(), heard


async def test_the_conversation_goes_on(server: Server) -> None:
    async with connect(server.port) as client:
        client.open_microphone()
        for count, question in enumerate([QUESTION, "count to ten", "how are you today"], start=1):
            client.say(spoken(question))
            done = await client.wait_for("response.done", count)
            assert done["response"]["status"] == "completed"
            assert len(client.transcripts()) == count
        assert understood(QUESTION, client.transcripts()[0])
        cached = done["response"]["usage"]["input_token_details"]["cached_tokens"]
        assert cached > 0, "what was computed for earlier turns is used again"


async def test_push_to_talk_answers_when_asked(server: Server) -> None:
    async with connect(server.port) as client:
        await client.configure(audio={"input": {"turn_detection": None}})
        await client.append(spoken(QUESTION))
        await client.send(type="input_audio_buffer.commit")
        await client.wait_for("conversation.item.input_audio_transcription.completed")
        await asyncio.sleep(0.2)
        assert "response.created" not in client.kinds, "a commit never answers by itself"
        await client.send(type="response.create")
        done = await client.wait_for("response.done")
        assert understood(QUESTION, client.transcripts()[0])
        assert done["response"]["output"]


async def test_text_in_text_out(server: Server) -> None:
    async with connect(server.port, model="echo") as client:
        await client.configure(output_modalities=["text"])
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "good morning"}]}
        await client.send(type="conversation.item.create", item=item)
        await client.send(type="response.create")
        done = await client.wait_for("response.done")
        assert done["response"]["output"][0]["content"] == [{"type": "output_text", "text": "You said good morning.  "}]
        assert "response.output_audio.delta" not in client.kinds


async def test_silence_and_noise_are_not_answered(server: Server) -> None:
    async with connect(server.port) as client:
        client.open_microphone()
        client.say(silence(1.0, RATE) * 8)
        await asyncio.sleep(2)
        assert client.kinds == ["session.created"]


async def test_a_cut_off_question_is_joined_with_its_end(server: Server) -> None:
    """A pause shorter than the silence window ends nothing, also when a reply was begun in it."""
    async with connect(server.port, model="echo") as client:
        client.open_microphone()
        first, second = "how are you today", "what is your name"
        client.say(spoken(first, second, pause_s=0.3))
        await client.wait_for("response.done")
        assert len(client.wire.of_type("response.created")) == 1
        (heard,) = client.transcripts()
        assert word_errors(f"{first} {second}", heard) <= 2
        assert client.answers() == [f"You said {heard}.  "]
