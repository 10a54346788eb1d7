import asyncio
import io
import re
import wave
from dataclasses import replace
from typing import Any

import aiohttp
import av
import numpy as np
import openai
import pytest

from pipeline.errors import StageError
from pipeline.stages import TranscriberCapabilities
from pipeline.types import Pcm16, Segment, TokenLogProbability, Transcript, Word
from server.rest import form, sound_in
from tests.fakes import FakeEars, FakeEarsStream, Gate
from tests.rest.conftest import Api, Serve
from tests.speech import silence
from tests.threads import until

ABLE = TranscriberCapabilities(
    languages=frozenset({"en", "de"}), log_probabilities=True, word_times=True, prompt=True, partial_s=1.0
)


class AbleEars(FakeEars):
    """Gives all that an engine can give."""

    capabilities = ABLE

    def open(self, language: str | None = None, prompt: str | None = None, word_times: bool = False) -> FakeEarsStream:
        super().open(language, prompt)
        self.streams[-1] = _AbleStream(self, language, word_times)
        return self.streams[-1]


class _AbleStream(FakeEarsStream):
    def __init__(self, ears: FakeEars, language: str | None, word_times: bool) -> None:
        super().__init__(ears)
        self._language, self._word_times = language, word_times

    def _transcript(self) -> Transcript:
        said = super()._transcript()
        words = (Word("hello", 0.1, 0.4), Word("there", 0.5, 0.9)) if self._word_times else ()
        segments = (Segment(said.text, 0.1, 0.9, -0.5, words),)
        return replace(
            said,
            language=self._language or "de",
            segments=segments,
            token_log_probabilities=(TokenLogProbability("hé", -0.25),),
        )


def ears_of(api: Api) -> FakeEars:
    ears = api.line.transcription
    assert isinstance(ears, FakeEars)
    return ears


def tone(seconds: float, rate: int = 16_000) -> Pcm16:
    return (8000 * np.sin(np.arange(round(seconds * rate)) * 440 * 2 * np.pi / rate)).astype(np.int16)


def wav(samples: Pcm16, rate: int = 16_000, channels: int = 1) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(samples, channels).astype("<i2").tobytes())
    return content.getvalue()


def encoded(container: str, codec: str, format: str, rate: int = 48_000, seconds: float = 1.0) -> bytes:
    """Returns a file as a browser or a phone would make it."""
    content = io.BytesIO()
    with av.open(content, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate)
        stream.codec_context.layout = "stereo"
        stream.codec_context.format = format
        samples = np.repeat(tone(seconds, rate), 2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate = rate
        output.mux([*stream.encode(frame), *stream.encode(None)])
    return content.getvalue()


TWO = wav(np.concatenate([tone(2), silence(0.9), tone(1.5)]))
"""Two sentences, with a pause between them."""
ONE = wav(tone(1))


async def ask(api: Api, file: bytes = ONE, **fields: Any) -> Any:
    return await api.client.audio.transcriptions.create(**{"file": ("a.wav", file), "model": "mini", **fields})


async def refusal(api: Api, file: bytes = ONE, **fields: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as refused:
        await ask(api, file, **fields)
    return refused.value


async def test_json_has_text_and_usage(api: Api) -> None:
    transcription = await ask(api)
    assert transcription.text == "hello there"
    usage = transcription.usage
    assert (usage.type, usage.input_tokens, usage.output_tokens, usage.total_tokens) == ("tokens", 10, 2, 12)
    assert ears_of(api).open_streams == 0


async def test_other_formats_say_the_same(api: Api) -> None:
    assert await ask(api, TWO, response_format="text") == "hello there hello there\n"
    srt = (await ask(api, TWO, response_format="srt")).splitlines()
    assert (srt[0], srt[2], srt[4]) == ("1", "hello there", "2")
    start, end = srt[5].split(" --> ")
    assert start.startswith("00:00:02,8") or start.startswith("00:00:02,9")
    assert end.startswith("00:00:04,3") or end.startswith("00:00:04,4")
    vtt = (await ask(api, TWO, response_format="vtt")).splitlines()
    assert vtt[:2] == ["WEBVTT", ""]
    assert vtt[3] == "hello there"
    assert "." in vtt[2]


async def test_verbose_json_has_segments_also_where_the_engine_has_none(api: Api) -> None:
    verbose = await ask(api, TWO, response_format="verbose_json")
    assert (verbose.text, verbose.language) == ("hello there hello there", "en")
    assert verbose.duration == pytest.approx(4.4)
    first, second = verbose.segments
    assert (first.id, first.start, second.id) == (0, 0, 1)
    assert second.start == pytest.approx(2.9, abs=0.05)
    assert first.avg_logprob is None
    assert verbose.words is None


async def test_words_language_and_probabilities_come_where_the_engine_gives_them(serve: Serve) -> None:
    async with serve(transcription=AbleEars()) as api:
        verbose = await ask(api, response_format="verbose_json", timestamp_granularities=["word"], language="en-GB")
        assert [(word.word, word.start, word.end) for word in verbose.words] == [
            ("hello", 0.1, 0.4),
            ("there", 0.5, 0.9),
        ]
        assert verbose.segments is None
        assert verbose.language == "en-GB"
        verbose = await ask(api, response_format="verbose_json")
        assert verbose.language == "de"
        assert verbose.segments[0].avg_logprob == -0.5
        transcription = await ask(api, include=["logprobs"], prompt="names")
        (token,) = transcription.logprobs
        assert (token.token, token.logprob, token.bytes) == ("hé", -0.25, list("hé".encode()))
        assert list(ears_of(api).opened_with) == [("en-GB", None), (None, None), (None, "names")]


async def test_times_are_those_of_the_file(serve: Serve) -> None:
    sound = np.concatenate([part for _ in range(9) for part in (tone(3), silence(0.7))])
    async with serve(transcription=AbleEars()) as api:
        verbose = await ask(
            api, wav(sound), response_format="verbose_json", timestamp_granularities=["word", "segment"]
        )
        first, second = verbose.segments
        assert first.start == pytest.approx(0.1)
        assert second.start > 20
        assert verbose.words[2].start == pytest.approx(second.start)


async def test_text_is_streamed_piece_by_piece(serve: Serve) -> None:
    gate = Gate()
    finished = iter((False, True))
    ears = FakeEars(hook=lambda name, cancel: gate.wait(cancel) if name == "finish" and next(finished) else None)
    async with serve(transcription=ears) as api:
        deltas, done = [], None
        async for event in await ask(api, TWO, stream=True):
            if event.type == "transcript.text.delta":
                deltas.append(event.delta)
                gate.open()  # the second piece is not read before the first is here
            else:
                done = event
        assert deltas == ["hello there", " hello there"]
        assert done.type == "transcript.text.done"
        assert done.text == "".join(deltas)
        assert done.usage.input_tokens == 44


FILES = {
    "wav 44.1 kHz stereo": lambda: wav(tone(1, 44_100), 44_100, 2),
    "mp3": lambda: encoded("mp3", "libmp3lame", "s16p"),
    "m4a": lambda: encoded("ipod", "aac", "fltp"),
    "aac": lambda: encoded("adts", "aac", "fltp"),
    "webm": lambda: encoded("webm", "libopus", "s16"),
    "ogg opus": lambda: encoded("ogg", "libopus", "s16"),
    "flac": lambda: encoded("flac", "flac", "s16"),
}


@pytest.mark.parametrize("kind", FILES)
async def test_what_browsers_and_phones_record_is_heard(serve: Serve, kind: str) -> None:
    heard: list[Pcm16] = []
    ears = FakeEars(hear=lambda sound: heard.append(sound) or "heard")
    async with serve(transcription=ears) as api:
        assert (await ask(api, FILES[kind]())).text == "heard"
    (sound,) = heard
    assert len(sound) / 16_000 == pytest.approx(1.0, abs=0.07)
    middle = sound[4000:12000].astype(float)
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=2)
    assert np.abs(middle).max() == pytest.approx(8000, rel=0.2)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (b"", "empty"),
        (b"this is text and no sound at all", "no kind that is known"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\nfile:///etc/passwd\n", "no kind that is known"),
        (ONE[:40], "cannot be read|no sound"),
        (wav(np.zeros(0, np.int16)), "no sound|cannot be read"),
        (b"OggS" + bytes(range(256)) * 40, "cannot be read|no sound"),
        (b"\xff\xfb\x90\x00" + bytes(range(1, 251)) * 40, "cannot be read|no sound|damaged"),
        (b"\x00\x00\x00\x20ftypM4A " + bytes(64), "cannot be read|no sound"),
    ],
)
async def test_a_file_that_is_no_sound_is_refused(api: Api, file: bytes, problem: str) -> None:
    error = await refusal(api, file)
    assert (error.status_code, error.param, error.code) == (400, "file", "invalid_audio"), error.body
    assert re.search(problem, error.message)


async def test_a_recording_that_breaks_off_is_heard_up_to_there(api: Api) -> None:
    webm = encoded("webm", "libopus", "s16", seconds=3.0)
    assert (await ask(api, webm[: len(webm) * 2 // 3])).text == "hello there"


async def test_too_large_and_too_long_files_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "MAX_FILE", 10_000)
    error = await refusal(api)
    assert (error.status_code, error.code, error.param) == (413, "file_too_large", "file")
    monkeypatch.setattr(form, "MAX_FILE", 10_000_000)
    monkeypatch.setattr(sound_in, "MAX_S", 3)
    error = await refusal(api, TWO)
    assert (error.status_code, error.code, error.param) == (413, "audio_too_long", "file")
    assert ears_of(api).open_streams == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "fr"}, "language"),
        ({"prompt": "names"}, "prompt"),
        ({"temperature": 0.5}, "temperature"),
        ({"include": ["logprobs"]}, "include"),
        ({"timestamp_granularities": ["word"], "response_format": "verbose_json"}, "timestamp_granularities"),
        ({"timestamp_granularities": ["segment"]}, "timestamp_granularities"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "srt", "stream": True}, "response_format"),
        ({"chunking_strategy": {"type": "server_vad"}}, "chunking_strategy[type]"),
        ({"extra_body": {"beam": "5"}}, "beam"),
    ],
)
async def test_what_the_engine_cannot_do_is_refused_by_name(api: Api, fields: dict[str, Any], param: str) -> None:
    error = await refusal(api, **fields)
    assert (error.status_code, error.param, error.type) == (400, param, "invalid_request_error"), error.body
    assert not ears_of(api).streams


async def test_fields_that_ask_for_nothing_special_are_taken(api: Api) -> None:
    transcription = await ask(api, temperature=0, language="en-US", stream=False, chunking_strategy="auto", prompt="")
    assert transcription.text == "hello there"


async def test_a_form_that_is_none_is_refused(api: Api) -> None:
    async with aiohttp.ClientSession() as client:

        async def post(status: int, param: str | None, **body: Any) -> None:
            async with client.post(f"{api.url}/audio/transcriptions", **body) as response:
                assert response.status == status, await response.text()
                assert (await response.json())["error"]["param"] == param

        await post(415, None, json={"model": "mini"})
        await post(400, None, data=b"--x\r\nnonsense", headers={"Content-Type": "multipart/form-data; boundary=x"})
        await post(400, None, data=b"", headers={"Content-Type": "multipart/form-data"})
        only_model = aiohttp.FormData({"model": "mini"}, default_to_multipart=True)
        await post(400, "file", data=only_model)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_transcriber_that_fails_is_an_error_with_a_status(serve: Serve, streamed: bool) -> None:
    def fail(name: str, _: object) -> None:
        if name == "finish":
            raise StageError("transcription", "It broke.")

    async with serve(transcription=FakeEars(hook=fail)) as api:
        error = await refusal(api, stream=streamed)
        assert (error.status_code, error.code, error.type) == (500, "transcription_failed", "server_error")


async def test_a_client_that_goes_ends_the_call_under_way(serve: Serve) -> None:
    gate = Gate()
    ears = FakeEars(hook=lambda name, cancel: gate.wait(cancel) if name == "finish" else None)
    async with serve(transcription=ears) as api, aiohttp.ClientSession() as client:
        data = aiohttp.FormData({"model": "mini"})
        data.add_field("file", ONE, filename="a.wav")
        asking = asyncio.create_task(client.post(f"{api.url}/audio/transcriptions", data=data))
        await until(gate.reached.is_set)
        asking.cancel()
        await until(lambda: ears.streams and not ears.open_streams)


async def test_requests_take_turns_at_the_transcriber_piece_by_piece(serve: Serve) -> None:
    order: list[int] = []
    gate = Gate()

    def hook(name: str, cancel: Any) -> None:
        if name == "finish":
            gate.wait(cancel)

    ears = FakeEars(hook=hook)
    ears.capabilities = replace(ears.capabilities, concurrency=1)
    async with serve(transcription=ears) as api:

        async def listen(number: int) -> None:
            async for event in await ask(api, TWO, stream=True):
                if event.type == "transcript.text.delta":
                    order.append(number)

        first = asyncio.create_task(listen(1))
        await until(gate.reached.is_set)
        second = asyncio.create_task(listen(2))
        await api.client.models.list()
        assert [stream.calls.count("finish") for stream in ears.streams] == [1]
        gate.open()
        await asyncio.gather(first, second)
        assert sorted(order) == [1, 1, 2, 2]
