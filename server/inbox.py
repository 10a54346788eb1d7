"""Events of one session on their way to its machine."""

import asyncio

from server.outbound import SlowClient
from server.realtime.inbox import Event

INBOX_LIMIT = 256
"""Events that may wait for the machine before whoever brings more has to wait."""


class Inbox:
    """Events on their way to the machine, bounded where they come from outside."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | SlowClient] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, event: Event) -> None:
        """Queues an event, waiting for room first."""
        await self._room.wait()
        self.put_now(event)

    def put_now(self, event: Event | SlowClient) -> None:
        """Queues an event of which there can only be as many as were asked for, or the reason to end the session."""
        self._queue.put_nowait(event)
        if self._queue.qsize() >= INBOX_LIMIT:
            self._room.clear()

    async def get(self) -> Event:
        """Waits for the next event. Raises SlowClient when its turn has come."""
        event = await self._queue.get()
        if self._queue.qsize() < INBOX_LIMIT:
            self._room.set()
        if isinstance(event, SlowClient):
            raise event
        return event

    @property
    def is_empty(self) -> bool:
        return self._queue.empty()
