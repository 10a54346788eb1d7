"""The whole measurement: rounds of questions, every server asked the same in turn, so that noise meets all alike."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import aiohttp

from server.bench.memory import Memory, memory_of, server_process
from server.bench.questions import Question
from server.bench.rig import INTERRUPT_AFTER_S, Asker
from server.bench.turn import Turn
from server.cli.address import Address
from server.cli.failure import RunFailedError
from server.cli.realtime_client import RealtimeClient, connect
from server.cli.session_setup import prepare

_FRAME_MS = 32
"""A frame of Silero's voice detector, which many servers use."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test, and what it is called in the report."""

    label: str
    address: Address


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked, how often, and by how many sessions at once. `silence_ms` ends a turn; None: as the server has
    it. With `interruptions`, each reply is cut short by one of them, in turn. `warm_up` rounds come first and do not
    count.
    """

    questions: Sequence[Question]
    rounds: int = 5
    sessions: int = 1
    silence_ms: int | None = 500
    interruptions: Sequence[Question] = ()
    warm_up: int = 0


@dataclass(slots=True)
class Result:
    """What was measured of one server."""

    server: Server
    turns: list[Turn] = field(default_factory=list)
    seconds: float = 0.0
    """How long its turns took, those at the same time counted once."""
    idle: Memory | None = None
    """Its memory before the first question; None: the process is not on this machine, or not ours."""
    busy: Memory | None = None
    """The most of its memory while all sessions were open and had been answered."""
    problem: str | None = None
    """Why it is not asked any more: nobody could open a session."""

    @property
    def failed(self) -> list[Turn]:
        """The turns without an answer."""
        return [turn for turn in self.turns if turn.problem is not None]

    @property
    def answered(self) -> int:
        """How many turns were answered."""
        return len(self.turns) - len(self.failed)

    @property
    def turns_a_minute(self) -> float:
        """Answered turns a minute, of all sessions together."""
        return 60 * self.answered / self.seconds if self.seconds else 0.0

    @property
    def reply_seconds(self) -> float:
        """How much sound all replies had, in seconds."""
        return sum(turn.reply_seconds for turn in self.turns)

    def memory_per_session_mb(self, sessions: int) -> float | None:
        """Returns what a session added to the idle server, in MB."""
        if self.idle is None or self.busy is None:
            return None
        return round((self.busy.total_mb - self.idle.total_mb) / sessions, 1)


Progress = Callable[[str], None]


async def measure(servers: Sequence[Server], plan: Plan, progress: Progress) -> list[Result]:
    """Asks everything of everyone; the servers take turns, and none is asked while another is.

    Nothing raises that is a server's fault: turns that fail are in its results, and a server where nobody can open a
    session is not asked again; `Result.problem` says why.
    """
    under_test = [_UnderTest(server, plan) for server in servers]
    for number in range(-plan.warm_up, plan.rounds):
        name = f"round {number + 1} of {plan.rounds}" if number >= 0 else "warming up"
        for question in plan.questions:
            for each in under_test:
                if each.result.problem is None:
                    progress(f"{name}: {question.name} → {each.result.server.label}")
                    await each.ask(question, counts=number >= 0)
    return [each.result for each in under_test]


class _UnderTest:
    """One server, its process if that is here, and what it has been seen to do."""

    def __init__(self, server: Server, plan: Plan) -> None:
        self._plan = plan
        self._address = server.address
        self._process = server_process(server.address.url.host or "", server.address.url.port or 0)
        self.result = Result(server, idle=self._memory())
        self._timings: bool | None = None
        """Whether it takes `?timings=true`; None: not tried yet."""
        self._interrupted = 0
        """How many replies were to be interrupted."""

    async def ask(self, question: Question, *, counts: bool) -> None:
        """Asks one question in as many sessions at once as are planned, each new: no answer depends on others."""
        result = self.result
        async with AsyncExitStack() as stack:
            opened = await asyncio.gather(*(self._open(stack) for _ in range(self._plan.sessions)))
            clients = [each for each in opened if isinstance(each, RealtimeClient)]
            refused = [each for each in opened if isinstance(each, RunFailedError)]
            if not clients:
                result.problem = str(refused[0])
                return
            began = time.monotonic()
            turns = await asyncio.gather(*(self._one(client, question) for client in clients))
            seconds = time.monotonic() - began
            busy = self._memory()
        if not counts:
            return
        result.turns += [*turns, *(Turn(question.name, problem=str(each)) for each in refused)]
        result.seconds += seconds
        if busy is not None and (result.busy is None or busy.total_mb > result.busy.total_mb):
            result.busy = busy

    async def _open(self, stack: AsyncExitStack) -> RealtimeClient | RunFailedError:
        try:
            client = await self._connect(stack)
            await prepare(client, {}, silence_ms=self._plan.silence_ms)
            return client
        except RunFailedError as error:
            return error

    async def _connect(self, stack: AsyncExitStack) -> RealtimeClient:
        address = self._address
        if self._timings is False:
            return await stack.enter_async_context(connect(address))
        try:
            client = await stack.enter_async_context(connect(address, {"timings": "true"}))
        except RunFailedError as error:
            if self._timings or not isinstance(error.__cause__, aiohttp.WSServerHandshakeError):
                raise
            client = await stack.enter_async_context(
                connect(address)
            )  # a server may refuse a query that it does not know
            self._timings = False
            return client
        self._timings = True
        return client

    async def _one(self, client: RealtimeClient, question: Question) -> Turn:
        try:
            return await self._asker(client, question).ask()
        except RunFailedError as error:
            return Turn(question.name, problem=str(error))

    def _asker(self, client: RealtimeClient, question: Question) -> Asker:
        said = self._plan.interruptions
        if not said:
            return Asker(client, question)
        number, self._interrupted = self._interrupted, self._interrupted + 1
        # Each begins elsewhere in a frame of the server's voice detector, and alike for every server.
        after_s = INTERRUPT_AFTER_S + number * 11 % _FRAME_MS / 1000
        return Asker(client, question, said[number % len(said)], after_s)

    def _memory(self) -> Memory | None:
        return None if self._process is None else memory_of(self._process)
