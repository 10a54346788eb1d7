"""What the engine `openai` promises as a transcriber, against a real HTTP endpoint on loopback."""

import asyncio
import contextlib
import math
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.errors import EngineError, StageError
from pipeline.transcription.openai import OpenAITranscriber
from pipeline.types import LISTENING_RATE, Pcm16, Segment, TokenLogProbability, Transcript, Word
from pipeline.workers import SerialWorker
from server.realtime.session_config import speaks
from tests.openai_endpoint import (
    CUT,
    PATIENCE_S,
    RESET,
    Answer,
    Endpoint,
    Gate,
    error_answer,
    events_answer,
    json_answer,
)
from tests.threads import until

SOUND: Pcm16 = np.random.default_rng(1).integers(-3_000, 3_000, LISTENING_RATE).astype(np.int16)
"""A second of it."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


Make = Callable[..., OpenAITranscriber]


@pytest.fixture
def make(endpoint: Endpoint) -> Iterator[Make]:
    """Makes engines for the endpoint, and closes them when the test is over."""
    engines: list[OpenAITranscriber] = []

    def make(**options: Any) -> OpenAITranscriber:
        given = {"base_url": endpoint.base_url, **options}
        engines.append(OpenAITranscriber(OpenAITranscriber.Options(**given)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def transcribe(engine: OpenAITranscriber, sound: Pcm16 = SOUND, **asked: Any) -> Transcript:
    stream = engine.open(**asked)
    for start in range(0, len(sound), 1_000):
        stream.feed(sound[start : start + 1_000])
    transcript = stream.finish()
    stream.close()
    return transcript


def sounds(endpoint: Endpoint) -> list[Pcm16]:
    """What was sent, in order."""
    return [request.samples for request in endpoint.asked("transcription")]


# --- what is asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upload", ["whole", "live"])
def test_the_utterance_is_sent_as_a_wav_file_and_its_words_come_back(
    endpoint: Endpoint, make: Make, upload: str
) -> None:
    assert transcribe(make(upload=upload)) == Transcript("hello there", tokens=2)
    request = endpoint.wait("transcription")
    assert request.fields == [("model", "whisper-1"), ("response_format", "json")]
    riff, _, kind, _, _, form, channels, rate, _, _, bits, data, size = struct.unpack_from(
        "<4sI4s4sIHHIIHH4sI", request.file
    )
    assert (riff, kind, data, form, channels, rate, bits) == (b"RIFF", b"WAVE", b"data", 1, 1, 16_000, 16)
    assert size == (0xFFFFFFFF if upload == "live" else len(SOUND) * 2)
    assert np.array_equal(request.samples, SOUND)
    assert ("content-length" in request.headers) == (upload == "whole")
    assert request.parts[-1].filename == "speech.wav"


def test_options_reach_the_endpoint_and_a_session_overrides_them(endpoint: Endpoint, make: Make) -> None:
    engine = make(
        model="whisper-large-v3",
        language="de-AT",
        prompt='Größe "XL",\r\nBonn',
        temperature=0.2,
        stream=True,
        extra={"vad_filter": True, "beam_size": 5},
    )
    transcribe(engine)
    assert endpoint.wait("transcription").fields == [
        ("model", "whisper-large-v3"),
        ("response_format", "json"),
        ("language", "de"),
        ("prompt", 'Größe "XL",\r\nBonn'),
        ("temperature", "0.2"),
        ("stream", "true"),
        ("vad_filter", "true"),
        ("beam_size", "5"),
    ]
    transcribe(engine, language="EN-us", prompt="Parley")
    fields = dict(endpoint.wait("transcription", 2).fields)
    assert (fields["language"], fields["prompt"]) == ("en", "Parley")


def test_what_clients_may_speak_is_what_whisper_does_or_what_is_said(make: Make) -> None:
    known = make().capabilities.languages
    assert all(any(speaks(asked, each) for each in known) for asked in ("en", "de-AT", "zh-Hant", "uk", "yue"))
    assert make(languages=("en", "gsw")).capabilities.languages == {"en", "gsw"}


def test_capabilities_are_what_the_options_say(make: Make) -> None:
    plain = make().capabilities
    assert (plain.streaming, plain.partial_s, plain.log_probabilities, plain.word_times, plain.prompt) == (
        True, None, False, False, True,
    )  # fmt: skip
    assert make(partials=1.5).capabilities.partial_s == 1.5
    assert make(log_probabilities=True).capabilities.log_probabilities
    assert make(response_format="verbose_json").capabilities.word_times


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"log_probabilities": True, "response_format": "verbose_json"}, "log_probabilities"),
        ({"extra": {"file": "x"}}, "extra"),
        ({"extra": {"language": "x"}}, "extra"),
    ],
)
def test_options_that_contradict_each_other_stop_the_start(make: Make, options: dict[str, Any], option: str) -> None:
    with pytest.raises(EngineError) as caught:
        make(**options)
    assert caught.value.option == option


# --- hypotheses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upload", ["whole", "live"])
def test_a_hypothesis_is_the_transcript_if_nothing_is_said_after_it(
    endpoint: Endpoint, make: Make, upload: str
) -> None:
    stream = make(upload=upload).open()
    stream.feed(SOUND)
    assert stream.hypothesis() == stream.hypothesis() == stream.finish()
    assert len(endpoint.asked("transcription")) == 1


@pytest.mark.parametrize("upload", ["whole", "live"])
def test_speech_after_a_hypothesis_makes_another_request_with_all_of_it(
    endpoint: Endpoint, make: Make, upload: str
) -> None:
    endpoint.heard = lambda samples: f"{len(samples)} samples"
    stream = make(upload=upload).open()
    stream.feed(SOUND[:9_000])
    assert stream.hypothesis().text == "9000 samples"
    stream.feed(SOUND[9_000:])
    assert stream.hypothesis().text == stream.finish().text == "16000 samples"
    assert np.array_equal(sounds(endpoint)[-1], SOUND)
    assert len(endpoint.asked("transcription")) == 2


@pytest.mark.parametrize("upload", ["whole", "live"])
def test_utterances_follow_each_other_and_know_nothing_of_each_other(
    endpoint: Endpoint, make: Make, upload: str
) -> None:
    stream = make(upload=upload).open()
    stream.feed(SOUND[:4_000])
    stream.finish()
    stream.feed(SOUND[4_000:8_000])
    stream.discard()
    assert stream.hypothesis() == Transcript("")
    stream.feed(SOUND[8_000:])
    stream.finish()
    asked = endpoint.asked("transcription")  # between the two there may be one that was cut off
    assert asked[0].samples.tolist() == SOUND[:4_000].tolist()
    assert asked[-1].samples.tolist() == SOUND[8_000:].tolist()


@pytest.mark.parametrize("upload", ["whole", "live"])
def test_no_sound_is_an_empty_transcript_and_next_to_none_is_filled_up(
    endpoint: Endpoint, make: Make, upload: str
) -> None:
    stream = make(upload=upload).open(language="de")
    assert stream.hypothesis() == stream.finish() == Transcript("", language="de")
    assert not endpoint.asked("transcription")
    stream.feed(SOUND[:100])
    stream.hypothesis()
    stream.feed(SOUND[100:2_000])
    stream.finish()
    short, longer = sounds(endpoint)
    assert (short[:100].tolist(), len(short), short[100:].any()) == (SOUND[:100].tolist(), 1_600, np.False_)
    assert np.array_equal(longer, SOUND[:2_000])


def test_an_hour_of_sound_is_sent(endpoint: Endpoint, make: Make) -> None:
    endpoint.always("transcription", json_answer({"text": "long"}))
    minute = np.tile(SOUND, 60)
    stream = make().open()
    for _ in range(60):
        stream.feed(minute)
    assert stream.finish().text == "long"
    assert endpoint.wait("transcription").size > 60 * 60 * LISTENING_RATE * 2


# --- live upload --------------------------------------------------------------------------------------------------


def test_live_sound_arrives_while_it_is_spoken(endpoint: Endpoint, make: Make) -> None:
    stream = make(upload="live").open()
    for count in range(1, 9):
        stream.feed(SOUND[(count - 1) * 2_000 : count * 2_000])
        endpoint.wait("transcription").wait_for(count * 4_000)
    assert not endpoint.wait("transcription").whole.is_set()
    assert stream.finish().text == "hello there"
    assert len(endpoint.asked("transcription")) == 1
    assert np.array_equal(sounds(endpoint)[0], SOUND)


@pytest.mark.parametrize("status", [400, 411, 501])
def test_an_endpoint_that_takes_no_live_sound_is_sent_it_whole_from_then_on(
    endpoint: Endpoint, make: Make, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    endpoint.tell("transcription", error_answer(status, "Length Required"))
    engine = make(upload="live")
    assert transcribe(engine).text == "hello there"
    assert transcribe(engine).text == "hello there"
    requests = endpoint.asked("transcription")
    assert ["content-length" in request.headers for request in requests] == [False, True, True]
    assert all(np.array_equal(sound, SOUND) for sound in sounds(endpoint)[1:])
    assert len(caplog.records) == 1


@pytest.mark.parametrize("end", [CUT, RESET])
def test_live_sound_that_is_lost_on_the_way_is_sent_again(endpoint: Endpoint, make: Make, end: Any) -> None:
    endpoint.tell("transcription", Answer(before=[end], reads=False))
    engine = make(upload="live")
    assert transcribe(engine).text == "hello there"
    assert np.array_equal(endpoint.wait("transcription", 2).samples, SOUND)
    transcribe(engine)
    assert ["content-length" in request.headers for request in endpoint.asked("transcription")] == [False, True, False]


def test_sound_that_is_refused_whole_too_is_no_fault_of_the_way_it_was_sent(endpoint: Endpoint, make: Make) -> None:
    endpoint.tell("transcription", *[error_answer(400, "no speech in it", "bad_audio")] * 2)
    engine = make(upload="live")
    with pytest.raises(StageError) as caught:
        transcribe(engine)
    assert caught.value.code == "bad_audio"
    transcribe(engine)
    assert "content-length" not in endpoint.asked("transcription")[-1].headers


def test_a_refusal_before_the_sound_is_over_is_the_utterances_error(endpoint: Endpoint, make: Make) -> None:
    endpoint.tell("transcription", Answer([b"{}"], 503, reads=False))
    stream = make(upload="live").open()
    stream.feed(SOUND)
    endpoint.wait("transcription").answered.wait(PATIENCE_S)
    for _ in range(50):
        stream.feed(SOUND)  # into a connection that is gone
    with pytest.raises(StageError, match="503"):
        stream.hypothesis()


@pytest.mark.parametrize("upload", ["whole", "live"])
def test_a_kept_connection_that_is_gone_costs_no_utterance(endpoint: Endpoint, make: Make, upload: str) -> None:
    engine = make(upload=upload)
    for end in (CUT, RESET):
        transcribe(engine)
        endpoint.tell("transcription", Answer(before=[end]))
        assert transcribe(engine).text == "hello there"
        assert np.array_equal(sounds(endpoint)[-1], SOUND)


# --- ending -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["discard", "close"])
def test_dropping_an_utterance_closes_its_live_request(endpoint: Endpoint, make: Make, how: str) -> None:
    stream = make(upload="live").open()
    stream.feed(SOUND)
    request = endpoint.wait("transcription")
    request.wait_for(len(SOUND) * 2)
    getattr(stream, how)()
    assert request.gone.wait(PATIENCE_S)


@pytest.mark.parametrize("upload", ["whole", "live"])
def test_closing_ends_an_upload_that_nobody_takes(make: Make, upload: str) -> None:
    """What lies in buffers must not be sent first: the other side would never take it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        engine = make(base_url=f"http://127.0.0.1:{server.getsockname()[1]}/v1", upload=upload)
        stream, failed = engine.open(), threading.Event()

        def speak() -> None:
            try:
                for _ in range(600):
                    stream.feed(SOUND)
                stream.finish()
            except StageError:
                failed.set()

        thread = threading.Thread(target=speak)
        thread.start()
        connection, _ = server.accept()
        with connection:
            connection.recv(1)  # it has begun
            stream.close()
            assert failed.wait(PATIENCE_S)
            engine.close()
            connection.settimeout(PATIENCE_S)
            got = 0
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(2**20):
                    got += len(piece)
        assert got < 600 * len(SOUND) * 2
        thread.join()


@pytest.mark.parametrize("upload", ["whole", "live"])
async def test_closing_from_another_thread_ends_a_call_under_way(endpoint: Endpoint, make: Make, upload: str) -> None:
    gate = Gate()
    endpoint.tell("transcription", Answer(before=[gate]))
    stream, worker = make(upload=upload).open(), SerialWorker("transcription")
    worker.post(lambda: stream.feed(SOUND))
    call = worker.post(stream.finish)
    await until(gate.reached.is_set)
    stream.close()
    stream.close()
    with pytest.raises(StageError, match="closed"):
        await worker.result(call, PATIENCE_S)
    assert endpoint.wait("transcription").gone.wait(PATIENCE_S)
    with pytest.raises(StageError, match="closed"):
        await worker.result(worker.post(lambda: (stream.feed(SOUND), stream.finish())), PATIENCE_S)
    worker.abandon()


def test_closing_the_engine_ends_a_call_under_way(endpoint: Endpoint, make: Make) -> None:
    gate, failed = Gate(), threading.Event()
    endpoint.tell("transcription", Answer(before=[gate]))
    engine = make()

    def listen() -> None:
        with pytest.raises(StageError, match="closed"):
            transcribe(engine)
        failed.set()

    thread = threading.Thread(target=listen)
    thread.start()
    assert gate.reached.wait(PATIENCE_S)
    engine.close()
    assert failed.wait(PATIENCE_S)
    thread.join()
    with pytest.raises(StageError, match="closed"):
        transcribe(engine)


async def test_two_sessions_are_heard_at_the_same_time(endpoint: Endpoint, make: Make) -> None:
    gates = [Gate(), Gate()]
    endpoint.tell("transcription", *(json_answer({"text": "yes"}, before=[gate]) for gate in gates))
    engine = make()
    calls = [asyncio.create_task(asyncio.to_thread(transcribe, engine)) for _ in gates]
    for gate in gates:
        await until(gate.reached.is_set)
    for gate in gates:
        gate.open()
    assert [transcript.text for transcript in await asyncio.gather(*calls)] == ["yes", "yes"]


# --- what is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 1])
def test_an_answer_in_events_is_read_whether_asked_for_or_not(endpoint: Endpoint, make: Make, cut: int) -> None:
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 45}
    done = {"type": "transcript.text.done", "text": "Grüß Gott 😀", "usage": usage}
    delta = {"type": "transcript.text.delta", "delta": "Grüß"}
    endpoint.tell("transcription", events_answer(delta, done, done=False, cut=cut))
    assert transcribe(make()) == Transcript("Grüß Gott 😀", tokens=45)
    engine = make(stream=True)
    for _ in range(5):
        assert transcribe(engine).text == "hello there"
    assert endpoint.connections == 2  # one an engine
    endpoint.tell("transcription", json_answer({"text": " no events "}, cut=cut))
    assert transcribe(engine).text == "no events"
    endpoint.tell("transcription", events_answer({"text": "one"}, {"text": "two", "usage": None}))
    assert transcribe(engine) == Transcript("one two", tokens=2)


def test_events_that_break_off_are_no_transcript(endpoint: Endpoint, make: Make) -> None:
    delta = {"type": "transcript.text.delta", "delta": "Hel"}
    for answer in (
        events_answer(delta, done=False),
        Answer([b'data: {"type": "transcript.text.delta"}\n\n', CUT], content_type="text/event-stream"),
        Answer([b'{"text": "hel', CUT]),
        events_answer({"error": {"message": "broke down"}}),
    ):
        endpoint.tell("transcription", answer)
        with pytest.raises(StageError, match="broke"):
            transcribe(make())


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"text": null}', b"[]", b"plain text", b"<html><title>Hi</title></html>", b'{"text": "a']
)
def test_what_is_no_transcript_is_an_error(endpoint: Endpoint, make: Make, body: bytes) -> None:
    endpoint.tell("transcription", Answer([body]))
    with pytest.raises(StageError, match=f"127.0.0.1:{endpoint.port}"):
        transcribe(make())


def test_segments_words_and_language_are_read(endpoint: Endpoint, make: Make) -> None:
    segments = [
        {"id": 0, "start": 0.0, "end": 1.0, "text": " One two.", "avg_logprob": -0.25, "tokens": [1, 2, 3]},
        {"id": 1, "start": 1.0, "end": 2.5, "text": " Three.", "avg_logprob": None, "tokens": [4]},
        {"id": 2, "text": "no times"},
    ]
    words = [
        {"word": "One", "start": 0.1, "end": 0.4},
        {"word": " two", "start": 0.5, "end": 0.9, "probability": 0.5},
        {"word": "Three", "start": 1.2, "end": 2.0},
        {"word": "odd", "start": "x"},
    ]
    answer = {
        "task": "transcribe",
        "language": "english",
        "text": "One two. Three.",
        "segments": segments,
        "words": words,
    }
    endpoint.always("transcription", json_answer(answer))
    transcript = transcribe(make(response_format="verbose_json"), word_times=True)
    assert transcript == Transcript(
        "One two. Three.",
        4,
        "en",
        (
            Segment("One two.", 0.0, 1.0, -0.25, (Word("One", 0.1, 0.4), Word("two", 0.5, 0.9, math.log(0.5)))),
            Segment("Three.", 1.0, 2.5, None, (Word("Three", 1.2, 2.0),)),
        ),
    )
    fields = endpoint.wait("transcription").fields
    granularities = [value for name, value in fields if name == "timestamp_granularities[]"]
    assert granularities == ["segment", "word"]
    assert dict(fields)["response_format"] == "verbose_json"


def test_words_inside_segments_or_without_any_are_read(endpoint: Endpoint, make: Make) -> None:
    word = {"word": "One", "start": 0.1, "end": 0.4}
    inside = {"text": "One", "segments": [{"start": 0, "end": 1, "text": "One", "words": [word]}], "language": "pt-BR"}
    endpoint.tell("transcription", json_answer(inside), json_answer({"text": "One", "words": [word]}))
    spoken = Word("One", 0.1, 0.4)
    engine = make(response_format="verbose_json")
    assert transcribe(engine) == Transcript("One", 1, "pt-BR", (Segment("One", 0.0, 1.0, None, (spoken,)),))
    assert transcribe(engine).segments == (Segment("One", 0.1, 0.4, None, (spoken,)),)


def test_probabilities_of_tokens_are_asked_for_and_read(endpoint: Endpoint, make: Make) -> None:
    tokens = [
        {"token": "Hel", "logprob": -0.1, "bytes": list(b"Hel")},
        {"token": "lo", "logprob": -1.5},
        {"token": "!"},
        {"token": "\ufffd", "logprob": -2, "bytes": [0xF0, 0x9F]},
        {"token": "x", "logprob": -3, "bytes": [300, "x"]},
    ]
    endpoint.always("transcription", json_answer({"text": "Hello!", "logprobs": tokens}))
    transcript = transcribe(make(log_probabilities=True))
    assert transcript.token_log_probabilities == (
        TokenLogProbability("Hel", -0.1),
        TokenLogProbability("lo", -1.5),
        TokenLogProbability("\ufffd", -2.0, b"\xf0\x9f"),
        TokenLogProbability("x", -3.0),
    )
    assert [token.utf8 for token in transcript.token_log_probabilities] == [b"Hel", b"lo", b"\xf0\x9f", b"x"]
    assert ("include[]", "logprobs") in endpoint.wait("transcription").fields


def test_a_refusal_keeps_its_code(endpoint: Endpoint, make: Make) -> None:
    endpoint.tell("transcription", error_answer(400, "audio too short", "audio_too_short"))
    with pytest.raises(StageError) as caught:
        transcribe(make())
    assert (caught.value.stage, caught.value.code) == ("transcription", "audio_too_short")
