"""`POST /v1/audio/transcriptions`: a file of sound → what is said in it."""

import contextlib
import logging
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from pipeline.errors import StageError
from pipeline.line import Line
from pipeline.types import Transcript
from server.realtime.session_config import speaks
from server.realtime.usage import input_audio_tokens, ms_to_ticks
from server.rest.errors import ApiError, of_stage, refused
from server.rest.form import Form, read_form
from server.rest.http import Stream, convert
from server.rest.service import Service
from server.rest.transcribing import Heard, Manner, transcribe
from server.rest.transcript_formats import joined, logprobs, separator, srt, verbose, vtt

log = logging.getLogger(__name__)


class TranscriptionForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of the form, besides the file. `temperature` and `chunking_strategy` take what Parley does anyway."""

    model: str | None = None
    language: Annotated[str, Meta(min_length=1)] | None = None
    prompt: str | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: float = 0.0
    timestamp_granularities: list[Literal["word", "segment"]] = msgspec.field(default_factory=list)
    include: list[Literal["logprobs"]] = msgspec.field(default_factory=list)
    stream: bool = False
    chunking_strategy: Literal["auto"] | None = None


_LISTS = ("timestamp_granularities", "include")


async def create_transcription(request: web.Request, service: Service) -> web.StreamResponse:
    """Answers a request.

    Raises:
        ApiError: it cannot be honoured.
        StageError: the transcriber failed.
    """
    async with read_form(request) as form:
        asked = _read(form)
        line = service.line(asked.model)
        _check(asked, line)
        if form.file is None:
            raise refused("missing_required_parameter", "There is no `file` in the form.", "file")
        if asked.stream:
            return await _streamed(request, service, line, asked, form.file)
        return await _whole(service, line, asked, form.file)


def _read(form: Form) -> TranscriptionForm:
    fields: dict[str, Any] = {}
    for name, values in form.fields.items():
        if name not in _LISTS and len(values) > 1:
            raise refused("invalid_value", f"There is more than one `{name}`.", name)
        fields[name] = values if name in _LISTS else values[0]
    return convert(fields, TranscriptionForm, from_text=True)


def _check(asked: TranscriptionForm, line: Line) -> None:
    """Refuses what the pipeline's transcriber cannot do.

    Raises:
        ApiError: it cannot.
    """
    engine, able = line.config.transcription.engine, line.transcription.capabilities
    language = asked.language
    if language is not None and not any(speaks(language, known) for known in able.languages):
        known = ", ".join(sorted(able.languages))
        raise refused("invalid_value", f"`{engine}` does not understand '{language}', only: {known}.", "language")
    if asked.prompt and not able.prompt:
        raise refused("unsupported_parameter", f"`{engine}` takes no prompt.", "prompt")
    if asked.temperature:
        problem = "The randomness of a transcriber is set in models.yaml, if it has any: leave this out, or 0."
        raise refused("unsupported_parameter", problem, "temperature")
    if asked.timestamp_granularities and asked.response_format != "verbose_json":
        problem = "Times of words and segments come with `response_format` verbose_json."
        raise refused("invalid_value", problem, "timestamp_granularities")
    if "word" in asked.timestamp_granularities and not able.word_times:
        raise refused("unsupported_parameter", f"`{engine}` gives no times of words.", "timestamp_granularities")
    if asked.include and asked.response_format != "json":
        raise refused("invalid_value", "Log probabilities come with `response_format` json.", "include")
    if asked.include and not able.log_probabilities:
        raise refused("unsupported_parameter", f"`{engine}` gives no log probabilities.", "include")
    if asked.stream and asked.response_format not in ("json", "text"):
        raise refused(
            "invalid_value", "What is streamed is text: with `stream`, leave this out, or json.", "response_format"
        )


def _ears(service: Service, line: Line, asked: TranscriptionForm, file: BinaryIO) -> "contextlib.aclosing[Any]":
    manner = Manner(asked.language, asked.prompt or None, "word" in asked.timestamp_granularities)
    return contextlib.aclosing(transcribe(line, service.transcription_slots(line), file, manner))


async def _whole(service: Service, line: Line, asked: TranscriptionForm, file: BinaryIO) -> web.Response:
    parts: list[Heard] = []
    async with _ears(service, line, asked, file) as heard:
        parts = [part async for part in heard]
    transcript, duration = joined([part.transcript for part in parts], _language(asked, line)), parts[-1].end
    match asked.response_format:
        case "text":
            return web.Response(text=f"{transcript.text}\n", content_type="text/plain")
        case "srt":
            return web.Response(text=srt(transcript), content_type="application/x-subrip")
        case "vtt":
            return web.Response(text=vtt(transcript), content_type="text/vtt")
        case "verbose_json":
            granularities = asked.timestamp_granularities or ["segment"]
            return web.json_response(verbose(transcript, duration, granularities))
        case _:
            body: dict[str, Any] = {"text": transcript.text, "usage": _usage(transcript, duration)}
            if asked.include:
                body["logprobs"] = logprobs(transcript.token_log_probabilities)
            return web.json_response(body)


async def _streamed(
    request: web.Request, service: Service, line: Line, asked: TranscriptionForm, file: BinaryIO
) -> web.StreamResponse:
    stream = Stream(request, "text/event-stream")
    with stream.whole_or_broken():
        await _send(stream, service, line, asked, file)
    return stream.response


async def _send(stream: Stream, service: Service, line: Line, asked: TranscriptionForm, file: BinaryIO) -> None:
    parts: list[Heard] = []
    text = ""
    try:
        async with _ears(service, line, asked, file) as heard:
            async for part in heard:
                parts.append(part)
                said = part.transcript
                if said.text:
                    delta = separator(text, said.language or asked.language) + said.text
                    text += delta
                    event = {"type": "transcript.text.delta", "delta": delta}
                    await stream.event(event | _logprobs(said, asked))
    except (ApiError, StageError) as error:
        if not stream.has_begun:
            raise
        failure = of_stage(error) if isinstance(error, StageError) else error
        log.error("a transcription broke off: %s", failure.message)
        await stream.event(failure.body())
        return
    transcript = joined([part.transcript for part in parts], asked.language)
    done = {"type": "transcript.text.done", "text": text, "usage": _usage(transcript, parts[-1].end)}
    await stream.event(done | _logprobs(transcript, asked))


def _logprobs(transcript: Transcript, asked: TranscriptionForm) -> dict[str, Any]:
    return {"logprobs": logprobs(transcript.token_log_probabilities)} if asked.include else {}


def _language(asked: TranscriptionForm, line: Line) -> str | None:
    """What is spoken, where the engine does not say: what was asked for, or the one language that it knows."""
    languages = line.transcription.capabilities.languages
    return asked.language or (next(iter(languages)) if len(languages) == 1 else None)


def _usage(transcript: Transcript, duration: float) -> dict[str, Any]:
    audio = input_audio_tokens(ms_to_ticks(round(duration * 1000)))
    return {
        "type": "tokens",
        "input_tokens": audio,
        "output_tokens": transcript.tokens,
        "total_tokens": audio + transcript.tokens,
        "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
    }
