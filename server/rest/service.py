"""What the endpoints share: the loaded pipelines, and what of their engines requests may have at a time.

Requests use the engines that live sessions use. So that sessions never wait for more than one step of a request, all
requests together get half of what an engine does at a time (one, where it does one), and wait for that in line; and
they come in small steps: a clause to say, a piece of sound to transcribe.
"""

import contextlib
from collections.abc import Iterator, Mapping

from pipeline.config import Config, UnknownModelError
from pipeline.device import cores
from pipeline.line import Line
from pipeline.slots import Slots
from server.rest.errors import ApiError

MAX_REQUESTS = 64
"""Requests that are worked on or wait in line at a time, over all endpoints; further ones are told to come back."""

UNBOUNDED = 16
"""What requests get at a time of an engine that does as many as it is asked for: a service, as a rule."""


class Service:
    """The pipelines, for requests."""

    def __init__(self, config: Config, lines: Mapping[str, Line]) -> None:
        self.config = config
        self.lines = lines
        self._slots: dict[int, Slots] = {}
        self._requests = 0

    def line(self, model: str | None) -> Line:
        """Returns the pipeline that a request means with `model`: nothing, a name, or an alias.

        Raises:
            ApiError: there is none.
        """
        try:
            return self.lines[self.config.resolve(model, self.lines)]
        except UnknownModelError as error:
            raise ApiError(404, "model_not_found", str(error), "model") from error

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Counts a request in.

        Raises:
            ApiError: there are too many.
        """
        if self._requests >= MAX_REQUESTS:
            problem = f"{MAX_REQUESTS} requests are under way already. Try again in a moment."
            raise ApiError(429, "rate_limit_exceeded", problem, kind="requests")
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    def speech_slots(self, line: Line) -> Slots:
        """The clauses of requests that the pipeline's synthesizer makes at a time."""
        return self._slots_of(line.tts, half(line.tts.concurrency))

    def reply_slots(self, line: Line) -> Slots:
        """The replies to requests that the pipeline's language model makes at a time."""
        return self._slots_of(line.llm, half(line.llm.capabilities.concurrency))

    def transcription_slots(self, line: Line) -> Slots:
        """The pieces of requests that the pipeline's transcriber works on at a time: each keeps a core busy."""
        most = line.transcription.capabilities.concurrency
        return self._slots_of(line.transcription, half(most if most is None else min(most, cores())))

    def _slots_of(self, engine: object, count: int) -> Slots:
        # Engines live as long as the service, so an id is theirs alone.
        return self._slots.setdefault(id(engine), Slots(count))


def half(concurrency: int | None) -> int:
    """Returns what requests may have of an engine that does `concurrency` things at a time."""
    return UNBOUNDED if concurrency is None else max(1, concurrency // 2)
