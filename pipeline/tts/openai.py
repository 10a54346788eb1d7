"""Speech behind an endpoint with the shape of OpenAI's audio/speech: speaches, LocalAI, Kokoro-FastAPI, OpenAI itself,
another Parley. How its sound is read: openai_sound.py.
"""

import base64
import binascii
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, Literal

import aiohttp
import numpy as np
from msgspec import Meta

from pipeline.errors import StageError
from pipeline.http.engine import ServiceEngine
from pipeline.http.options import EndpointOptions, check_extra
from pipeline.http.replies import DONE, drain, events, not_the_answer, parse_object, whole
from pipeline.openai_voices import OPENAI_VOICES
from pipeline.stages import SynthesizerCapabilities
from pipeline.tts.openai_sound import NotSoundError, SoundReader, TextInsteadError
from pipeline.types import WIRE_RATE, Pcm16, SpeechRequest
from pipeline.workers import CancelToken

SLOWEST, FASTEST = 0.25, 4.0
"""Speeds that OpenAI's API takes."""

MOST_S = 60
"""Seconds of sound for one text, or one for each character where that is more, after which the endpoint is taken to run
wild. At a quarter of the normal speed a character takes 0.3 s."""

_FIXED = ("input", "voice", "speed", "stream_format")
_OWN_OPTIONS = {"model": "model", "response_format": "format", "instructions": "instructions"}


class OpenAISpeech(ServiceEngine):
    """Speech from an HTTP endpoint with the shape of OpenAI's audio/speech, played while it arrives."""

    class Options(EndpointOptions, frozen=True, kw_only=True):
        """What a clause is said with unless its request says otherwise, and in which form the sound comes."""

        model: Annotated[str, Meta(min_length=1, description="The model's name there.")] = "tts-1"
        voice: Annotated[str, Meta(min_length=1, description="The voice that speaks where a client names none.")] = (
            "alloy"
        )
        voices: Annotated[
            tuple[str, ...] | None,
            Meta(
                description="Voices that clients may name besides it. Default: OpenAI's, if `voice` is one of them; "
                "else none."
            ),
        ] = None
        languages: Annotated[
            tuple[str, ...], Meta(min_length=1, description="What the voices speak, as BCP 47 tags.")
        ] = ("en",)
        format: Annotated[
            Literal["pcm", "wav"],
            Meta(description="`pcm`: samples of 16 bits, little-endian, mono; `wav`: a WAV, which says its own rate."),
        ] = "pcm"
        rate: Annotated[int, Meta(ge=8_000, le=96_000, description="Samples a second of `pcm`.")] = 24_000
        stream_format: Annotated[
            Literal["audio", "sse"],
            Meta(description="`sse`: the sound comes in events, by endpoints that stream it in no other way."),
        ] = "audio"
        instructions: Annotated[
            str | None, Meta(description="How to speak, for models that take it (gpt-4o-mini-tts). Default: nothing.")
        ] = None
        concurrency: Annotated[
            int, Meta(ge=1, le=1024, description="Clauses in the making at a time, over all sessions; others wait.")
        ] = 4
        extra: Annotated[
            dict[str, Any], Meta(description="Further fields of the request, such as `{lang_code: e}`.")
        ] = {}  # noqa: RUF012 - msgspec makes a new one for each

    rate = WIRE_RATE

    def __init__(self, options: Options) -> None:
        """Raises:
        EngineError: an option cannot be meant.
        """
        check_extra(options.extra, _FIXED, _OWN_OPTIONS)
        self._options = options
        super().__init__("tts", options, options.model)
        self.concurrency = options.concurrency
        others = options.voices
        if others is None:
            others = OPENAI_VOICES if options.voice in OPENAI_VOICES else ()
        voices = dict.fromkeys((options.voice, *others))
        self.capabilities = SynthesizerCapabilities(
            voices=tuple(voices), languages=frozenset(options.languages), speeds=(SLOWEST, FASTEST)
        )

    async def synthesize(self, request: SpeechRequest, cancel: CancelToken) -> AsyncIterator[Pcm16]:
        """Says one clause, int16 at 24 kHz, in chunks as they arrive. A speed outside `capabilities.speeds` is taken as
        the nearest in it. Nothing is asked for text without a word in it.

        Raises:
            StageError: there is no such voice, or the endpoint fails; what came of the sound has been yielded.
        """
        if request.voice is not None and request.voice not in self.capabilities.voices:
            raise StageError("tts", f"There is no voice {request.voice!r} (`voices` of the tts in models.yaml).")
        if not any(character.isalnum() for character in request.text):
            return
        chunks = self.client.iterate(lambda: self._say(request), cancel)
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def _say(self, request: SpeechRequest) -> AsyncGenerator[Pcm16, None]:
        fail = self.client.fail
        most = WIRE_RATE * max(MOST_S, len(request.text))
        came = 0
        async with self.client.post_json("audio/speech", self._body(request)) as response:
            try:
                async with contextlib.aclosing(self._sound(response)) as chunks:
                    async for chunk in chunks:
                        came += len(chunk)
                        if came > most:
                            raise fail.of_reply(f"sent more than {most // WIRE_RATE} s of sound for one clause")
                        if len(chunk):
                            yield chunk
            except TextInsteadError as error:
                raise not_the_answer(error.head + await whole(response, fail), response, fail) from None
            except NotSoundError as error:
                raise fail.of_reply(f"sent {error} (`format` of the tts in models.yaml)") from None
        if came == 0:
            raise fail.of_reply("sent no sound")

    async def _sound(self, response: aiohttp.ClientResponse) -> AsyncGenerator[Pcm16, None]:
        in_events = response.content_type == "text/event-stream"
        declared = "" if in_events else response.content_type
        reader = SoundReader(self._options.format, self._options.rate, self.rate, declared)
        broken: Exception | None = None
        try:
            async with contextlib.aclosing(self._pieces(response, in_events)) as pieces:
                async for piece in pieces:
                    yield reader.feed(piece)
        except (aiohttp.ClientError, OSError, StageError) as error:
            broken = error
        # What came is heard, also where no more does; but only a whole reply can be too short to be told from sound.
        with contextlib.suppress(*([NotSoundError] if broken else [])):
            yield reader.finish()
        if broken is not None:
            raise broken

    async def _pieces(self, response: aiohttp.ClientResponse, in_events: bool) -> AsyncGenerator[bytes, None]:
        """The bytes of the sound, as they arrive."""
        if not in_events:
            async for piece in response.content.iter_any():
                yield piece
            return
        fail = self.client.fail
        async with contextlib.aclosing(events(response, fail)) as stream:
            async for event in stream:
                if event.data == DONE:
                    return
                value = parse_object(event.data, fail, event.name)
                if value.get("type") == "speech.audio.done":
                    await drain(response)
                    return
                if isinstance(audio := value.get("audio"), str):
                    try:
                        yield base64.b64decode(audio, validate=True)
                    except binascii.Error:
                        raise fail.of_reply("sent sound that is not base64") from None
        raise fail.of_reply("broke off in the middle of its reply")

    def _body(self, request: SpeechRequest) -> dict[str, Any]:
        options = self._options
        body: dict[str, Any] = {"model": options.model, "input": request.text, "voice": request.voice or options.voice}
        body["response_format"] = options.format
        speed = float(np.clip(request.speed, SLOWEST, FASTEST))
        if speed != 1.0:
            body["speed"] = speed
        if options.instructions is not None:
            body["instructions"] = options.instructions
        if options.stream_format != "audio":
            body["stream_format"] = options.stream_format
        return {**body, **options.extra}
