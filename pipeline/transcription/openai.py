"""Transcription behind an endpoint with the shape of OpenAI's audio/transcriptions: speaches, whisper.cpp's server,
vLLM, LocalAI, OpenAI itself, another Parley. How the answer is read: openai_transcript.py; how sound is sent while it
is spoken: openai_upload.py.
"""

import logging
import threading
from typing import Annotated, Any, Literal

from msgspec import Meta

from pipeline.audio import pcm16_to_bytes
from pipeline.errors import EngineError
from pipeline.http.engine import ServiceEngine
from pipeline.http.failures import HttpError, NetworkError
from pipeline.http.loop_thread import ClosedError, Job
from pipeline.http.options import EndpointOptions, check_extra
from pipeline.stages import TranscriberCapabilities
from pipeline.transcription.openai_transcript import WHISPER_LANGUAGES, read_transcript
from pipeline.transcription.openai_upload import LiveUpload, Upload, WholeUpload
from pipeline.types import LISTENING_RATE, Pcm16, Transcript

log = logging.getLogger(__name__)

SHORTEST_BYTES = LISTENING_RATE // 10 * 2
"""OpenAI refuses sound of less than 0.1 s, so silence is added up to that."""

_LIVE_REFUSED = (400, 411, 415, 422, 501)
"""Statuses by which an endpoint may say that it cannot read a body that comes while it is made."""

_FIXED = ("file", "stream", "include[]", "timestamp_granularities[]")
_OWN_OPTIONS = {name: name for name in ("model", "language", "prompt", "temperature", "response_format")}


class OpenAITranscriber(ServiceEngine):
    """Speech to text by an HTTP endpoint with the shape of OpenAI's audio/transcriptions."""

    class Options(EndpointOptions, frozen=True, kw_only=True):
        """What is sent with the sound, and how."""

        model: Annotated[str, Meta(min_length=1, description="The model's name there.")] = "whisper-1"
        language: Annotated[
            str | None,
            Meta(description="What is spoken where a client does not say, a BCP 47 tag. Default: it is recognised."),
        ] = None
        languages: Annotated[
            Annotated[tuple[str, ...], Meta(min_length=1)] | None,
            Meta(description="What clients may say is spoken, as BCP 47 tags. Default: the languages of Whisper."),
        ] = None
        prompt: Annotated[
            str | None,
            Meta(description="Words that are likely to come, where a client does not say. Default: none."),
        ] = None
        temperature: Annotated[
            Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="Randomness. Default: the endpoint's.")
        ] = None
        response_format: Annotated[
            Literal["json", "verbose_json"],
            Meta(
                description="`verbose_json` brings segments, word times and the language, from endpoints and models "
                "that have them."
            ),
        ] = "json"
        log_probabilities: Annotated[
            bool,
            Meta(description="Asks for the probabilities of tokens; for models that have them (gpt-4o-transcribe)."),
        ] = False
        stream: Annotated[
            bool,
            Meta(description="Asks for the answer in events. (A reply in events is read whether asked for or not.)"),
        ] = False
        upload: Annotated[
            Literal["whole", "live"],
            Meta(
                description="`whole`: the sound is sent when it is complete. `live`: while the user speaks, which "
                "saves the time of the upload; an endpoint that refuses that is sent whole sound from then on."
            ),
        ] = "whole"
        partials: Annotated[
            Annotated[float, Meta(ge=0.2, le=60)] | None,
            Meta(
                description="Seconds of new sound after which it is asked what is understood so far, so that words can "
                "be shown while they are spoken. Each time costs a request with all of the utterance. Default: never."
            ),
        ] = None
        extra: Annotated[
            dict[str, str | int | float | bool],
            Meta(description="Further fields of the form, such as `{vad_filter: true}`."),
        ] = {}  # noqa: RUF012 - msgspec makes a new one for each

    def __init__(self, options: Options) -> None:
        """Raises:
        EngineError: an option cannot be meant.
        """
        check_extra(options.extra, _FIXED, _OWN_OPTIONS)
        if options.log_probabilities and options.response_format != "json":
            raise EngineError(
                "Probabilities of tokens come with `response_format: json` only.",
                "Choose one of them.",
                "log_probabilities",
            )
        self._options = options
        super().__init__("transcription", options, options.model)
        self.live = options.upload == "live"
        """Whether sound is sent while it is spoken; no more when the endpoint has refused that."""
        self.capabilities = TranscriberCapabilities(
            languages=frozenset(options.languages or WHISPER_LANGUAGES),
            streaming=True,
            partial_s=options.partials,
            log_probabilities=options.log_probabilities,
            word_times=options.response_format == "verbose_json",
            prompt=True,
        )

    def open(
        self, language: str | None = None, prompt: str | None = None, word_times: bool = False
    ) -> "OpenAITranscriptionStream":
        """Opens a session's stream. Of the language the endpoint is told the first part: `en` for `en-US`."""
        return OpenAITranscriptionStream(self, self._fields(language, prompt, word_times), language)

    async def post(self, upload: Upload, language: str | None) -> Transcript:
        """Sends an utterance and returns its transcript. To be run on the client's thread."""
        async with self.client.request("POST", "audio/transcriptions", upload.body, upload.headers) as response:
            return await read_transcript(response, self.client.fail, language)

    def _fields(self, language: str | None, prompt: str | None, word_times: bool) -> list[tuple[str, str]]:
        options = self._options
        fields = [("model", options.model), ("response_format", options.response_format)]
        if spoken := language or options.language:
            fields.append(("language", spoken.partition("-")[0].lower()))
        if hint := prompt or options.prompt:
            fields.append(("prompt", hint))
        if options.temperature is not None:
            fields.append(("temperature", f"{options.temperature:g}"))
        if options.stream:
            fields.append(("stream", "true"))
        if options.log_probabilities:
            fields.append(("include[]", "logprobs"))
        if options.response_format == "verbose_json":
            fields.append(("timestamp_granularities[]", "segment"))
        if word_times:
            fields.append(("timestamp_granularities[]", "word"))
        return fields + [(name, _form_text(value)) for name, value in options.extra.items()]


class OpenAITranscriptionStream:
    """One session's ear. All of the utterance is kept, for each request brings the whole of it."""

    def __init__(self, engine: OpenAITranscriber, fields: list[tuple[str, str]], language: str | None) -> None:
        self._engine = engine
        self._fields = fields
        self._language = language
        self._sound: list[bytes] = []
        self._upload: LiveUpload | None = None
        """What is being sent of the utterance while it is spoken."""
        self._transcript: Transcript | None = None
        """Of all that was fed, if that is known."""
        self._lock = threading.Lock()
        self._job: Job[Transcript] | None = None
        self._closed = False

    def feed(self, samples: Pcm16) -> None:
        self._check_open()
        self._transcript = None
        self._sound.append(pcm16_to_bytes(samples))
        if not self._engine.live:
            return
        new = self._sound[-1:]
        if self._upload is None:  # the utterance begins, or goes on after its request was completed
            self._upload, new = LiveUpload(self._fields), self._sound
            self._start(self._upload)
        for piece in new:
            self._upload.send(piece)

    def hypothesis(self) -> Transcript:
        """Returns the transcript of all that was fed, at the cost of `finish`."""
        self._check_open()
        if self._transcript is None:
            self._transcript = self._ask() if self._sound else Transcript("", language=self._language)
        return self._transcript

    def finish(self) -> Transcript:
        try:
            return self.hypothesis()
        finally:
            self.discard()

    def discard(self) -> None:
        self._end_request()
        self._sound.clear()
        self._transcript = None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            job = self._job
        if job is not None:
            job.cancel()

    def _check_open(self) -> None:
        if self._closed:
            raise self._engine.client.closed_error()

    def _ask(self) -> Transcript:
        padding = bytes(max(0, SHORTEST_BYTES - sum(map(len, self._sound))))
        if self._upload is None:
            return self._ask_whole(padding)
        upload, self._upload = self._upload, None
        if padding:
            upload.send(padding)
        upload.end()
        try:
            return self._result()
        except HttpError as error:
            if error.status not in _LIVE_REFUSED:
                raise
            problem, live = error.problem, False
        except NetworkError as error:  # some close the connection rather than say that they cannot
            problem, live = error.problem, self._engine.live
        transcript = self._ask_whole(padding)
        further = "." if live else ", as all will be from now on."
        log.warning("%s What was sent while it was spoken has been sent again as a whole%s", problem, further)
        self._engine.live = live
        return transcript

    def _ask_whole(self, padding: bytes) -> Transcript:
        self._start(WholeUpload(self._fields, [*self._sound, padding]))
        return self._result()

    def _start(self, upload: Upload) -> None:
        job = self._engine.client.start(lambda: self._engine.post(upload, self._language))
        with self._lock:
            self._job = job
            closed = self._closed
        if closed:
            job.cancel()

    def _result(self) -> Transcript:
        assert self._job is not None
        try:
            return self._job.result()
        except ClosedError:
            raise self._engine.client.closed_error() from None

    def _end_request(self) -> None:
        self._upload = None
        with self._lock:
            job, self._job = self._job, None
        if job is not None:
            job.cancel()


def _form_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
