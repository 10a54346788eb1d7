"""Engines of a package that was installed answer from a real server, after a line each in models.yaml."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import StreamResampler
from pipeline.types import LISTENING_RATE, WIRE_RATE, Pcm16, SpeechRequest
from pipeline.workers import CancelToken
from tests.e2e.client import connect
from tests.engines.contract.conftest import SharedPlace
from tests.speech import silence

MODELS = """
default: whistled
models:
  whistled:
    vad: {engine: loudness, gain: 20}
    endpointing: {engine: fading, least_ms: 150}
    transcription: {engine: tones}
    llm: {engine: parrot, context: 100}
    tts: {engine: tones}
"""

START_S = 60


@pytest.fixture(scope="module")
def port(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Starts `parley serve` with the package installed, and returns the port that it listens on."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "models.yaml").write_text(MODELS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [str(Path(sys.executable).with_name("parley")), "serve", "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env={**os.environ, "PYTHONPATH": str(site)}
        )
    try:
        deadline = time.monotonic() + START_S
        while "listens on" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        assert server.wait(20) == 0, log.read_text()


async def test_a_turn_in_text(port: int) -> None:
    async with connect(port, "whistled") as client:
        await client.configure(output_modalities=["text"])
        content = [{"type": "input_text", "text": "hello to you"}]
        await client.send(type="conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await client.send(type="response.create")
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        assert (await client.wait_for("response.output_text.done"))["text"] == "You said hello to you "


async def test_a_turn_by_voice_through_all_five_engines(port: int, place: SharedPlace) -> None:
    sentence = "whistle with me"
    async with connect(port, "whistled") as client:
        await client.configure(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
        await client.append(whistled(place, sentence))
        await client.append(silence(9.0, WIRE_RATE))  # the longest that a turn can wait for its end
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        assert client.transcripts() == [sentence]
        assert client.answers() == [f"You said {sentence} "]
        answer = client.answer_sound(done["response"]["id"])
        assert understood(place, answer) == f"you said {sentence}"


def whistled(place: SharedPlace, text: str) -> Pcm16:
    """Returns a text in the language of tones, in a quiet room, int16 at 24 kHz."""
    voice = place.third_party("parley_tones.tts").Voice
    engine = voice(voice.Options())
    tones = np.concatenate(list(engine.synthesize(SpeechRequest(text), CancelToken())))
    resampler = StreamResampler(engine.rate, WIRE_RATE)
    sound = np.concatenate([resampler.process(tones), resampler.flush()])
    room = silence(0.5, WIRE_RATE)
    return np.concatenate([room, sound, room])


def understood(place: SharedPlace, sound: Pcm16) -> str:
    """Returns what sound at 24 kHz says in the language of tones."""
    ear = place.third_party("parley_tones.transcription").Ear
    stream = ear(ear.Options()).open()
    resampler = StreamResampler(WIRE_RATE, LISTENING_RATE)
    stream.feed(np.concatenate([resampler.process(sound), resampler.flush()]))
    return str(stream.finish().text)
