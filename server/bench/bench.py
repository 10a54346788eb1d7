"""The whole measurement: rounds of questions, every server asked the same in turn, so that noise meets all alike."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from server.bench.memory import resident_mb, server_process
from server.bench.questions import Question
from server.bench.rig import Asker
from server.bench.turn import Turn
from server.cli.address import Address
from server.cli.failure import RunFailedError
from server.cli.realtime_client import connect
from server.cli.session_setup import prepare


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test, and what it is called in the report."""

    label: str
    address: Address


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked, how often, and by how many sessions at once. `silence_ms` ends a turn; None: as the server has
    it. With an `interruption`, each reply is cut short by it.
    """

    questions: Sequence[Question]
    rounds: int = 5
    sessions: int = 1
    silence_ms: int | None = 500
    interruption: Question | None = None


@dataclass(slots=True)
class Result:
    """What was measured of one server."""

    server: Server
    turns: list[Turn] = field(default_factory=list)
    seconds: float = 0.0
    """How long its turns took, those at the same time counted once."""
    memory_mb: float | None = None
    """The most memory seen while sessions were open, in MB; None: the process is not on this machine, or not ours."""

    @property
    def turns_a_minute(self) -> float:
        """Answered turns a minute, of all sessions together."""
        answered = len(self.turns) - len(self.failed)
        return 60 * answered / self.seconds if self.seconds else 0.0

    def told(self) -> str:
        """Returns how much was answered, how fast and in how much memory, in one line."""
        answered = f"{len(self.turns) - len(self.failed)} of {len(self.turns)} turns answered"
        line = f"{self.server.label}: {answered}, {self.turns_a_minute:.1f} a minute"
        return line if self.memory_mb is None else f"{line}, {self.memory_mb:.0f} MB"

    @property
    def failed(self) -> list[Turn]:
        return [turn for turn in self.turns if turn.problem is not None]


Progress = Callable[[str], None]


async def measure(servers: Sequence[Server], plan: Plan, progress: Progress) -> list[Result]:
    """Asks everything of everyone; the servers take turns, and none is asked while another is.

    Raises:
        RunFailedError: a server cannot be reached or refuses the session. A turn that fails is in the results.
    """
    results = [Result(server) for server in servers]
    processes = [server_process(each.address.url.host or "", each.address.url.port or 0) for each in servers]
    for number in range(plan.rounds):
        for question in plan.questions:
            for result, process in zip(results, processes, strict=True):
                progress(f"round {number + 1} of {plan.rounds}: {question.name} → {result.server.label}")
                began = time.monotonic()
                turns = [_one(result.server, question, plan) for _ in range(plan.sessions)]
                result.turns += await asyncio.gather(*turns)
                result.seconds += time.monotonic() - began
                if process is not None and (taken := resident_mb(process)) is not None:
                    result.memory_mb = max(taken, result.memory_mb or 0.0)
    return results


async def _one(server: Server, question: Question, plan: Plan) -> Turn:
    """Asks one question in a session of its own: no answer depends on what was asked before."""
    address = Address(server.address.url.update_query(timings="true"), server.address.headers, server.address.tls)
    async with connect(address) as client:
        await prepare(client, {}, silence_ms=plan.silence_ms)
        try:
            return await Asker(client, question, plan.interruption).ask()
        except RunFailedError as error:
            return Turn(question.name, problem=str(error))
