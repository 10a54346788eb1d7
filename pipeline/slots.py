"""How much of an engine is in use, over all sessions: who works with it, who waits, and who gives way to whom.

A reply that is held is made for a user who may go on speaking: it begins only where there is room, waits behind
everything that somebody waits for, and gives its place up when that is needed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol


class Holder(Protocol):
    """Who has a slot, or wants one."""

    @property
    def is_held(self) -> bool:
        """Whether it is a reply that is held: nobody waits for it yet."""

    def give_way(self) -> None:
        """Is asked to end soon, as its slot is needed. Called while `is_held`, on the event loop; perhaps again."""


class _Waited:
    """A holder that somebody waits for, such as a request over HTTP."""

    is_held = False

    def give_way(self) -> None:
        """Is never asked to."""


WAITED: Holder = _Waited()


@dataclass(eq=False, slots=True)
class _Claim:
    """A slot that is wanted or taken. One that `only_looks` takes none."""

    holder: Holder
    only_looks: bool = False
    granted: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Slots:
    """How many calls of one engine may run at the same time; the others wait in line: first come first served, those
    that are held behind all others. Belongs to the event loop.
    """

    def __init__(self, count: int | None) -> None:
        """`count` of None: as many as are asked for."""
        self._count = count
        self._taken: list[_Claim] = []
        self._waiting: list[_Claim] = []

    @property
    def is_full(self) -> bool:
        return self._count is not None and len(self._taken) >= self._count

    async def take(self, holder: Holder = WAITED) -> Callable[[], None]:
        """Waits for a slot. Returns what gives it back; calling that again does nothing."""
        claim = _Claim(holder)
        await self._wait(claim)
        return partial(self._give_back, claim)

    def count(self) -> Callable[[], None]:
        """Takes a slot whether one is free or not, of an engine that keeps its own line. Returns what gives it back."""
        claim = _Claim(WAITED)
        self._taken.append(claim)
        return partial(self._give_back, claim)

    async def room(self, holder: Holder) -> None:
        """Waits until a slot is free for a holder that is held; one that is not does not wait."""
        if holder.is_held:
            await self._wait(_Claim(holder, only_looks=True))

    def look_again(self) -> None:
        """Is told that a holder is held no longer."""
        self._serve()

    async def _wait(self, claim: _Claim) -> None:
        self._waiting.append(claim)
        self._serve()
        try:
            await claim.granted
        except asyncio.CancelledError:
            if claim in self._waiting:
                self._waiting.remove(claim)
            self._give_back(claim)
            raise

    def _give_back(self, claim: _Claim) -> None:
        if claim in self._taken:
            self._taken.remove(claim)
            self._serve()

    def _serve(self) -> None:
        self._waiting = [claim for claim in self._waiting if not claim.granted.cancelled()]
        while (claim := self._next()) is not None:
            self._waiting.remove(claim)
            if not claim.only_looks:
                self._taken.append(claim)
            claim.granted.set_result(None)
        needed = sum(not claim.holder.is_held for claim in self._waiting)
        held = [claim for claim in reversed(self._taken) if claim.holder.is_held]
        for claim in held[:needed]:
            claim.holder.give_way()

    def _next(self) -> _Claim | None:
        """Returns who is served next: None while nobody can be."""
        for claim in self._waiting:
            if claim.only_looks and not claim.holder.is_held:
                return claim
        if self.is_full:
            return None
        waited = (claim for claim in self._waiting if not claim.holder.is_held)
        return next(waited, self._waiting[0] if self._waiting else None)
