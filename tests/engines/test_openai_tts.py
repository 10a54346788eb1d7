"""What the engine `openai` promises as a synthesizer, against a real HTTP endpoint on loopback."""

import base64
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import EngineError, StageError
from pipeline.tts import openai as openai_tts
from pipeline.tts.openai import OPENAI_VOICES, OpenAISpeech
from pipeline.tts.openai_sound import NotSoundError, SoundReader, TextInsteadError
from pipeline.types import Pcm16, SpeechRequest
from pipeline.workers import CancelToken, iterate
from tests.openai_endpoint import (
    CUT,
    PATIENCE_S,
    RATE,
    Answer,
    Endpoint,
    Gate,
    error_answer,
    events_answer,
    json_answer,
    tone,
    wav,
)

TEXT = "Hello there."
SOUND = tone(0.06 * len(TEXT))
"""What the endpoint makes of it."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def make(endpoint: Endpoint) -> Iterator[Callable[..., OpenAISpeech]]:
    """Makes engines for the endpoint, and closes them when the test is over."""
    engines: list[OpenAISpeech] = []

    def make(**options: Any) -> OpenAISpeech:
        engines.append(OpenAISpeech(OpenAISpeech.Options(base_url=endpoint.base_url, **options)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


async def say(engine: OpenAISpeech, request: SpeechRequest | str = TEXT, into: list[Pcm16] | None = None) -> Pcm16:
    """Says a clause as a turn does; `into` has the chunks that came before an error."""
    chunks: list[Pcm16] = [] if into is None else into
    cancel = CancelToken()
    request = SpeechRequest(request) if isinstance(request, str) else request
    async for chunk in iterate("tts", partial(engine.synthesize, request, cancel), cancel, timeout=PATIENCE_S):
        assert chunk.dtype == np.int16
        assert chunk.ndim == 1
        chunks.append(chunk)
    return np.concatenate([np.zeros(0, np.int16), *chunks])


def pcm(samples: Pcm16, **more: Any) -> Answer:
    return Answer([samples.astype("<i2").tobytes()], content_type="audio/pcm", **more)


def close_to(heard: Pcm16, meant: Pcm16, most: float = 200) -> bool:
    """Whether two sounds are the same but for the error of a resampling, and as long."""
    shorter = min(len(heard), len(meant))
    inside = slice(200, shorter - 200)
    difference = heard[inside].astype(int) - meant[inside]
    return abs(len(heard) - len(meant)) <= 4 and int(np.abs(difference).max()) <= most


# --- what is asked ------------------------------------------------------------------------------------------------


async def test_a_clause_is_asked_for_and_heard_sample_by_sample(
    endpoint: Endpoint, make: Callable[..., OpenAISpeech]
) -> None:
    engine = make()
    assert np.array_equal(await say(engine), SOUND)
    assert endpoint.wait("speech").json == {
        "model": "tts-1", "input": TEXT, "voice": "alloy", "response_format": "pcm",
    }  # fmt: skip
    assert engine.rate == RATE
    assert engine.concurrency == 4


async def test_options_and_the_request_reach_the_endpoint(
    endpoint: Endpoint, make: Callable[..., OpenAISpeech]
) -> None:
    engine = make(
        model="kokoro", voice="af_sky", voices=("af_bella",), instructions="Whisper.", extra={"lang_code": "a"}
    )
    await say(engine, SpeechRequest(TEXT, voice="af_bella", speed=1.25))
    assert endpoint.wait("speech").json == {
        "model": "kokoro",
        "input": TEXT,
        "voice": "af_bella",
        "response_format": "pcm",
        "speed": 1.25,
        "instructions": "Whisper.",
        "lang_code": "a",
    }
    await say(engine, SpeechRequest(TEXT, speed=9.0))
    assert (endpoint.wait("speech", 2).json["voice"], endpoint.wait("speech", 2).json["speed"]) == ("af_sky", 4.0)


def test_capabilities_are_what_the_options_say(make: Callable[..., OpenAISpeech]) -> None:
    assert make().capabilities.voices == OPENAI_VOICES
    assert make(voice="coral").capabilities.voices[0] == "coral"
    assert set(make(voice="coral").capabilities.voices) == set(OPENAI_VOICES)
    assert make(voice="af_sky").capabilities.voices == ("af_sky",)
    assert make(voice="a", voices=("b", "a", "c")).capabilities.voices == ("a", "b", "c")
    assert make(concurrency=2).concurrency == 2
    assert make(languages=("de", "fr")).capabilities.languages == {"de", "fr"}
    assert make().capabilities.speeds == (0.25, 4.0)


async def test_a_voice_that_there_is_not_fails_the_clause(
    endpoint: Endpoint, make: Callable[..., OpenAISpeech]
) -> None:
    with pytest.raises(StageError, match="'nobody'"):
        await say(make(), SpeechRequest(TEXT, voice="nobody"))
    assert not endpoint.asked("speech")


async def test_text_without_a_word_is_not_asked_for(endpoint: Endpoint, make: Callable[..., OpenAISpeech]) -> None:
    for text in ("", "  ", "…", "?!"):
        assert len(await say(make(), text)) == 0
    assert not endpoint.asked("speech")
    assert len(await say(make(), "7")) > 0


@pytest.mark.parametrize("extra", [{"input": "x"}, {"response_format": "mp3"}, {"instructions": "x"}])
def test_extra_sets_nothing_that_has_its_own_place(make: Callable[..., OpenAISpeech], extra: dict[str, Any]) -> None:
    with pytest.raises(EngineError) as caught:
        make(extra=extra)
    assert caught.value.option == "extra"


# --- sound --------------------------------------------------------------------------------------------------------


async def test_sound_is_heard_while_it_arrives(endpoint: Endpoint, make: Callable[..., OpenAISpeech]) -> None:
    gate = Gate()
    data = SOUND.tobytes()
    endpoint.tell("speech", Answer([data[:4_801], gate, data[4_801:]], content_type="audio/pcm"))
    cancel = CancelToken()
    chunks = iterate("tts", partial(make().synthesize, SpeechRequest(TEXT), cancel), cancel, timeout=PATIENCE_S)
    first = await anext(chunks)
    assert gate.reached.wait(PATIENCE_S)
    gate.open()
    assert np.array_equal(np.concatenate([first, *[chunk async for chunk in chunks]]), SOUND)


@pytest.mark.parametrize("cut", [1, 3, 4_799])
@pytest.mark.parametrize("form", ["pcm", "wav"])
async def test_how_the_network_cuts_the_sound_does_not_matter(
    endpoint: Endpoint, make: Callable[..., OpenAISpeech], form: str, cut: int
) -> None:
    short = SOUND[:2_000]
    endpoint.tell(
        "speech", pcm(short, cut=cut) if form == "pcm" else Answer([wav(short)], content_type="audio/wav", cut=cut)
    )
    assert np.array_equal(await say(make(format=form)), short)


async def test_a_wav_is_recognised_although_raw_samples_were_asked_for(
    endpoint: Endpoint, make: Callable[..., OpenAISpeech]
) -> None:
    for content_type in ("audio/pcm", "application/octet-stream", None):
        endpoint.tell("speech", Answer([wav(SOUND)], content_type=content_type))
        assert np.array_equal(await say(make()), SOUND)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
async def test_every_rate_becomes_the_engines(endpoint: Endpoint, make: Callable[..., OpenAISpeech], rate: int) -> None:
    endpoint.tell(
        "speech", pcm(tone(0.5, rate)), Answer([wav(tone(0.5, rate), rate)], content_type="audio/wav", cut=997)
    )
    assert close_to(await say(make(rate=rate)), tone(0.5))
    assert close_to(await say(make(format="wav")), tone(0.5))


async def test_sound_in_events_is_heard(endpoint: Endpoint, make: Callable[..., OpenAISpeech]) -> None:
    engine = make(stream_format="sse")
    for _ in range(3):
        assert np.array_equal(await say(engine), SOUND)
    assert endpoint.wait("speech").json["stream_format"] == "sse"
    assert endpoint.connections == 1
    audio = base64.b64encode(SOUND.tobytes()[:2_001]).decode()
    endpoint.tell("speech", events_answer({"type": "speech.audio.delta", "audio": audio}, done=False))
    chunks: list[Pcm16] = []
    with pytest.raises(StageError, match="broke off"):
        await say(engine, into=chunks)
    assert np.array_equal(np.concatenate(chunks), SOUND[:1_000])


# --- what goes wrong ----------------------------------------------------------------------------------------------

PAGE = b"<!doctype html><html><head><title>Welcome</title></head><body>Hello</body></html>"
MP3 = b"\xff\xfb\x90\xc4" + bytes(400)


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (b'{"error": {"message": "no such voice", "code": "bad"}}', "application/json", "no such voice"),
        (b'{"error": {"message": "no such voice", "code": "bad"}}', "audio/pcm", "no such voice"),
        (b'\n {"error": "no such voice"}' + b" " * 100, None, "no such voice"),
        (b'{"detail": "no such voice"}', "audio/wav", "no such voice"),
        (PAGE, "text/html", "Welcome"),
        (PAGE, "audio/pcm", "Welcome"),
        (b"model is loading", "text/plain", "model is loading"),
        (MP3, "audio/mpeg", "audio/mpeg in place of PCM"),
        (b"ID3\x04" + bytes(400), "audio/pcm", "MP3 in place of PCM"),
        (b"OggS" + bytes(400), "audio/ogg", "Ogg in place of PCM"),
        (b"fLaC" + bytes(400), None, "FLAC in place of PCM"),
        (b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(400), None, "not a WAV"),
        (wav(SOUND).replace(b"\x01\x00\x01\x00", b"\x55\x00\x01\x00", 1), None, "format 85"),
        (wav(SOUND)[:40], "audio/wav", "without sound"),
        (b"", "audio/pcm", "no sound"),
        (wav(SOUND[:0]), "audio/wav", "no sound"),
    ],
)
async def test_what_is_not_sound_is_not_played(
    endpoint: Endpoint, make: Callable[..., OpenAISpeech], body: bytes, content_type: str | None, says: str
) -> None:
    engine = make()
    for cut in (0, 1):
        endpoint.tell("speech", Answer([body], content_type=content_type, cut=cut))
        chunks: list[Pcm16] = []
        with pytest.raises(StageError, match=says):
            await say(engine, into=chunks)
        assert not chunks


async def test_a_wav_was_asked_for_and_something_else_came(
    endpoint: Endpoint, make: Callable[..., OpenAISpeech]
) -> None:
    endpoint.tell("speech", pcm(SOUND))
    with pytest.raises(StageError, match="not a WAV file"):
        await say(make(format="wav"))


@pytest.mark.parametrize("length", [None, 100_000])
async def test_what_came_before_the_connection_broke_is_heard(
    endpoint: Endpoint, make: Callable[..., OpenAISpeech], length: int | None
) -> None:
    endpoint.tell("speech", Answer([SOUND[:3_000].tobytes(), CUT], content_type="audio/pcm", length=length))
    chunks: list[Pcm16] = []
    with pytest.raises(StageError, match="broke off in the middle"):
        await say(make(), into=chunks)
    assert np.array_equal(np.concatenate(chunks), SOUND[:3_000])


async def test_a_refusal_keeps_its_code(endpoint: Endpoint, make: Callable[..., OpenAISpeech]) -> None:
    endpoint.tell("speech", error_answer(400, "string too long", "string_above_max_length"))
    with pytest.raises(StageError) as caught:
        await say(make())
    assert (caught.value.stage, caught.value.code) == ("tts", "string_above_max_length")


async def test_sound_without_end_is_cut_off(
    endpoint: Endpoint, make: Callable[..., OpenAISpeech], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_tts, "MOST_S", 1)
    endpoint.tell("speech", Answer([tone(len(TEXT) + 1).tobytes(), Gate()], content_type="audio/pcm"))
    with pytest.raises(StageError, match="more than 12 s of sound for one clause"):
        await say(make())
    assert endpoint.wait("speech").gone.wait(PATIENCE_S)


async def test_an_error_object_in_odd_places_is_no_sound(endpoint: Endpoint, make: Callable[..., OpenAISpeech]) -> None:
    for answer in (
        events_answer({"error": {"message": "out of memory"}}),
        events_answer({"type": "speech.audio.delta", "audio": "no base64!"}),
        json_answer({"audio": "none"}),
    ):
        endpoint.tell("speech", answer)
        with pytest.raises(StageError, match=f"127.0.0.1:{endpoint.port}"):
            await say(make())


# --- the reader, without a network ----------------------------------------------------------------------------

Cuts = list[int]
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def in_pieces(data: bytes, cuts: Cuts) -> list[bytes]:
    pieces, start = [], 0
    while start < len(data):
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(data[start : start + size])
        start += size
    return pieces


def samples_of(pieces: list[bytes], asked: Any = "wav", rate: int = RATE) -> Pcm16:
    reader = SoundReader(asked, rate, RATE)
    return np.concatenate([*map(reader.feed, pieces), reader.finish()])


def riff(form: bytes, data: bytes, size: int | None = None, before: bytes = b"", after: bytes = b"") -> bytes:
    """A WAV file from its chunks."""
    data_size = struct.pack("<I", len(data) if size is None else size)
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + data_size + data + after
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF if size is not None else len(body)) + body


def form(kind: int, channels: int, bits: int, rate: int = RATE) -> bytes:
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, bits)


@given(st.binary(max_size=200), CUTS)
def test_raw_samples_are_those_that_were_sent_however_they_are_cut(data: bytes, cuts: Cuts) -> None:
    data = b"\0\0\0\0" + data  # so that it is nothing else
    whole = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
    assert np.array_equal(samples_of(in_pieces(data, cuts), "pcm"), whole)
    resampled = samples_of([data], "pcm", 16_000)
    # Within 2: the resampler adds dither.
    assert np.allclose(samples_of(in_pieces(data, cuts), "pcm", 16_000), resampled, rtol=0, atol=2)


@given(
    st.lists(st.integers(-32768, 32767), max_size=60),
    st.sampled_from([None, 0, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF - 36]),
    st.sampled_from([b"", b"LIST\x03\0\0\0abc\0", b"junk\0\0\0\0"]),
    CUTS,
)
def test_a_wav_is_read_however_it_is_cut_and_whatever_it_says_of_its_length(
    values: list[int], size: int | None, before: bytes, cuts: Cuts
) -> None:
    samples = np.array([1, *values], np.int16)
    after = b"LIST\x04\0\0\0tail" if size is None else b""
    file = riff(form(1, 1, 16), samples.tobytes(), size, before, after)
    assert np.array_equal(samples_of(in_pieces(file, cuts)), samples)


@given(st.lists(st.integers(-128, 127), min_size=2, max_size=40), CUTS)
def test_every_form_of_samples_becomes_sixteen_bits_mono(values: list[int], cuts: Cuts) -> None:
    level = np.array(values, np.int64)
    meant = (level * 256).astype(np.int16)
    wide = level.astype("<i4")
    three = (wide << 16).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    extensible = form(0xFFFE, 1, 16) + struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
    for head, data in (
        (form(1, 1, 8), (level + 128).astype(np.uint8).tobytes()),
        (form(1, 1, 24), three),
        (form(1, 1, 32), (wide << 24).tobytes()),
        (form(3, 1, 32), (level / 128).astype("<f4").tobytes()),
        (extensible, meant.tobytes()),
        (form(1, 2, 16), np.stack([meant, meant], axis=1).tobytes()),
    ):
        assert np.array_equal(samples_of(in_pieces(riff(head, data), cuts)), meant)


def test_two_channels_become_one_by_their_mean() -> None:
    left, right = np.array([100, -32768, 32767], np.int16), np.array([300, -32768, 32767], np.int16)
    file = riff(form(1, 2, 16), np.stack([left, right], axis=1).tobytes())
    assert samples_of([file]).tolist() == [200, -32768, 32767]


@given(st.binary(max_size=300), CUTS)
def test_whatever_comes_there_is_sound_or_one_error(data: bytes, cuts: Cuts) -> None:
    def outcome(pieces: list[bytes]) -> object:
        try:
            return samples_of(pieces, "pcm").tolist()
        except TextInsteadError:
            return "text"
        except NotSoundError as error:
            return str(error)

    for start in (b"", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0", b"{", b" <", b"ID", b"Og"):
        assert outcome([start + data]) == outcome(in_pieces(start + data, cuts))
