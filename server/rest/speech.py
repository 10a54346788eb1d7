"""`POST /v1/audio/speech`: text → sound, sent while it is made."""

import asyncio
import base64
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from pipeline.audio import StreamResampler, slices
from pipeline.clauses import ClauseSplitter
from pipeline.errors import StageError
from pipeline.line import Line
from pipeline.slots import Slots
from pipeline.types import WIRE_RATE, Pcm16, SpeechRequest
from pipeline.workers import CancelToken, SerialWorker, iterate
from server.realtime.usage import output_audio_tokens
from server.rest.errors import of_stage, refused
from server.rest.http import Stream, convert, read_object
from server.rest.service import Service
from server.rest.sound_out import FORMATS, Format, encoder

log = logging.getLogger(__name__)

MAX_INPUT = 64 * 1024
"""Most characters to say: about an hour."""

AHEAD_S = 10
"""Seconds of sound that are made before the client takes them; no further clause is begun then."""

_CHUNK = WIRE_RATE // 5
"""Most samples that are encoded at once: 200 ms."""


class SpeechBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of a request. Speeds and voices are the engine's; what it cannot do is refused."""

    input: Annotated[str, Meta(min_length=1, max_length=MAX_INPUT)]
    model: str | None = None
    voice: str | None = None
    response_format: Format = "mp3"
    speed: float = 1.0
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = None


async def create_speech(request: web.Request, service: Service) -> web.StreamResponse:
    """Answers a request.

    Raises:
        ApiError: it cannot be honoured.
        StageError: the synthesizer failed before there was any sound.
    """
    asked = convert(await read_object(request), SpeechBody)
    line = service.line(asked.model)
    voice = _voice(asked, line, service)
    clauses = _clauses(asked.input)
    said = [SpeechRequest(clause, voice, asked.speed) for clause in clauses]
    content_type = "text/event-stream" if asked.stream_format == "sse" else FORMATS[asked.response_format]
    stream = Stream(request, content_type)
    with stream.whole_or_broken():
        async with contextlib.aclosing(_speak(line, service.speech_slots(line), said)) as sound:
            await _send(stream, asked, sound)
    return stream.response


def _voice(asked: SpeechBody, line: Line, service: Service) -> str:
    """Returns the engine's voice, having checked what it is to do.

    Raises:
        ApiError: it cannot.
    """
    able, engine = line.tts.capabilities, line.config.tts.engine
    if asked.instructions:
        problem = f"`{engine}` cannot be told how to speak: leave `instructions` out."
        raise refused("unsupported_parameter", problem, "instructions")
    slowest, fastest = able.speeds
    if not slowest <= asked.speed <= fastest:
        problem = f"`{engine}` speaks at speeds from {slowest:g} to {fastest:g}."
        raise refused("invalid_value", problem, "speed")
    voices = service.config.voice_names(line.name, able.voices)
    if asked.voice is not None and asked.voice not in voices:
        some = ", ".join(sorted(voices)[:12])
        raise refused("invalid_value", f"There is no voice '{asked.voice}'. Some that there are: {some}.", "voice")
    return able.voices[0] if asked.voice is None else voices[asked.voice]


def _clauses(text: str) -> list[str]:
    splitter = ClauseSplitter()
    spoken = [clause.speech for clause in (*splitter.feed(text), *splitter.finish()) if clause.speech]
    if not any(character.isalnum() for clause in spoken for character in clause):
        raise refused("invalid_value", "There is nothing in `input` that could be said.", "input")
    return spoken


async def _send(stream: Stream, asked: SpeechBody, sound: AsyncGenerator[Pcm16, None]) -> None:
    in_events = asked.stream_format == "sse"
    worker, file, samples = SerialWorker("encoding"), None, 0

    async def send(data: bytes) -> None:
        if data and in_events:
            await stream.event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
        elif data:
            await stream.write(data)

    try:
        async for piece in sound:
            file = file or encoder(asked.response_format)
            samples += len(piece)
            await send(await worker.post(partial(file.feed, piece)))
        if file is None:
            raise StageError("tts", "The speech synthesizer made no sound of it.")
        await send(await worker.post(file.finish))
    except StageError as error:
        if not stream.has_begun:
            raise
        log.error("speech broke off: %s", error.problem)
        if in_events:
            await stream.event(of_stage(error).body())
        else:
            stream.break_off()
        return
    finally:
        worker.abandon()
    if in_events:
        await stream.event({"type": "speech.audio.done", "usage": _usage(asked.input, samples)})


def _usage(text: str, samples: int) -> dict[str, int]:
    """What it cost: of the text its words, as synthesizers have no tokens; of the sound, tokens by OpenAI's rule."""
    words, sound = len(text.split()), output_audio_tokens(samples)
    return {"input_tokens": words, "output_tokens": sound, "total_tokens": words + sound}


async def _speak(line: Line, slots: Slots, said: Sequence[SpeechRequest]) -> AsyncGenerator[Pcm16, None]:
    """Says clauses, one after the other; yields int16 `[n]` at 24 kHz.

    A clause is made as fast as the engine can, whoever reads: its place in line is for live sessions as well, and must
    not wait for a slow client.

    Raises:
        StageError: the synthesizer failed.
    """
    made: asyncio.Queue[Pcm16 | Exception | None] = asyncio.Queue()
    ahead = _Ahead()
    making = asyncio.create_task(_make(line, slots, said, made, ahead), name="speech")
    try:
        while (value := await made.get()) is not None:
            if isinstance(value, Exception):
                raise value
            ahead.took(len(value))
            yield value
    finally:
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making


class _Ahead:
    """How far the making is ahead of the client."""

    def __init__(self) -> None:
        self._waiting = 0
        self._room = asyncio.Event()
        self._room.set()

    def made(self, samples: int) -> None:
        self._waiting += samples
        if self._waiting > AHEAD_S * WIRE_RATE:
            self._room.clear()

    def took(self, samples: int) -> None:
        self._waiting -= samples
        if self._waiting <= AHEAD_S * WIRE_RATE:
            self._room.set()

    async def room(self) -> None:
        await self._room.wait()


async def _make(
    line: Line,
    slots: Slots,
    said: Sequence[SpeechRequest],
    made: "asyncio.Queue[Pcm16 | Exception | None]",
    ahead: _Ahead,
) -> None:
    resampler = StreamResampler(line.tts.rate, WIRE_RATE)

    def put(samples: Pcm16) -> None:
        for piece in slices(samples, _CHUNK):
            ahead.made(len(piece))
            made.put_nowait(piece)

    try:
        for clause in said:
            await ahead.room()
            give_back = await slots.take()
            try:
                async with contextlib.aclosing(_say(line, clause)) as chunks:
                    async for chunk in chunks:
                        put(resampler.process(chunk))
            finally:
                give_back()
        put(resampler.flush())
        made.put_nowait(None)
    except Exception as error:  # whatever it is: the reader waits for an end
        made.put_nowait(error)


def _say(line: Line, clause: SpeechRequest) -> AsyncGenerator[Pcm16, None]:
    cancel = CancelToken()
    return iterate(
        "tts",
        partial(line.tts.synthesize, clause, cancel),
        cancel,
        timeout=line.timeouts.tts,
        slots=line.tts_slots,
    )
