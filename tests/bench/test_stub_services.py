"""The stubs as Parley's engines see them: what they say, that it is loud at once, and never sooner than it is due."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ParleyError
from pipeline.llm.openai import OpenAIModel
from pipeline.transcription.openai import OpenAITranscriber
from pipeline.tts.openai import OpenAISpeech
from pipeline.types import Generated, GenerationRequest, Message, Pcm16, Prompt, SpeechRequest, TextDelta
from pipeline.workers import CancelToken
from scripts.measure_turn_time.processes import stubs
from scripts.stub_services.services import REPLY, TRANSCRIPT, speech
from server.cli.loudness import first_audible

TEXT = "Hello there. " * 10


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("stubs")
    said: list[str] = []
    with stubs(folder, "--pace", "100", "--words-a-second", "1000", said=said.extend) as port:
        yield f"http://127.0.0.1:{port}/v1"
    served = [json.loads(line) for line in (folder / "stubs.jsonl").read_text().splitlines()]
    assert {each["service"] for each in served} == {"transcription", "chat", "speech"}
    for each in served:
        due = {"transcription": 80, "chat": 120, "speech": 100}[each["service"]]
        assert each["first_ms"] > due - 1
    assert len(said) == 3, "how exact each was is said at the end"


def test_the_transcriber_hears_what_is_always_said(base_url: str) -> None:
    engine = OpenAITranscriber(OpenAITranscriber.Options(base_url=base_url, model="stub-transcription"))
    stream = engine.open()
    stream.feed(np.ones(16_000, np.int16))
    assert stream.finish().text == TRANSCRIPT
    stream.close()
    engine.close()


async def test_the_model_says_its_reply_word_by_word(base_url: str) -> None:
    engine = OpenAIModel(OpenAIModel.Options(base_url=base_url, model="stub-llm"))
    stream = engine.open()
    request = GenerationRequest(Prompt((Message("user", "Hello."),)))
    made = [output async for output in stream.generate(request, CancelToken())]
    stream.close()
    engine.close()
    words = [output.text for output in made if isinstance(output, TextDelta)]
    assert "".join(words) == REPLY
    assert len(words) == len(REPLY.split())
    assert isinstance(made[-1], Generated)


async def test_speech_is_loud_from_its_first_sample_and_comes_whole(base_url: str) -> None:
    engine = OpenAISpeech(OpenAISpeech.Options(base_url=base_url, model="stub-speech"))
    chunks: list[Pcm16] = [chunk async for chunk in engine.synthesize(SpeechRequest(TEXT), CancelToken())]
    engine.close()
    sound = np.concatenate(chunks)
    assert len(chunks) > 1
    assert sound.tobytes() == speech(TEXT)
    assert first_audible(sound, engine.rate) == 0
    assert np.abs(sound[:240]).max() > 8000


def test_a_port_that_is_taken_is_said(tmp_path: Path, base_url: str) -> None:
    port = base_url.split(":")[2].removesuffix("/v1")
    with pytest.raises(ParleyError, match="did not start"), stubs(tmp_path, "--port", port):
        pass


def test_the_reply_is_cut_by_words_and_not_by_a_comma() -> None:
    """So a first clause is nine words, whoever cuts it."""
    assert not any(mark in " ".join(REPLY.split()[:10]) for mark in ",;:.!?")
