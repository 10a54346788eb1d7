"""What is on its way to the client: a bounded queue of frames."""

import asyncio
from collections import deque

LOW_WATER = 256 * 1024
"""Characters waiting under which more sound is pulled from the engines."""

FLOOD = 4 * 1024 * 1024
"""Characters waiting over which nothing more is read from the client until it reads itself."""

HIGH_WATER = 32 * 1024 * 1024
"""Characters waiting over which the client is given up: it sends, but does not read."""


class SlowClient(Exception):  # noqa: N818 - names who is at fault
    """The client does not read what it asked for."""


class Outbound:
    """Frames in order. Sound is pulled only while there is room, so what piles up here is small talk or a flood."""

    def __init__(self) -> None:
        self._frames: deque[str] = deque()
        self._waiting = 0
        self._closed = False
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._calm = asyncio.Event()
        self._room.set()
        self._calm.set()

    def put(self, frame: str) -> None:
        """Queues a frame, or drops it after `close`.

        Raises:
            SlowClient: far too much waits already.
        """
        if self._closed:
            return
        if self._waiting > HIGH_WATER:
            raise SlowClient
        self._frames.append(frame)
        self._waiting += len(frame)
        self._some.set()
        if self._waiting > LOW_WATER:
            self._room.clear()
        if self._waiting > FLOOD:
            self._calm.clear()

    async def get(self) -> str:
        """Returns the next frame; it still counts as waiting until `sent` is called for it."""
        while not self._frames:
            self._some.clear()
            await self._some.wait()
        return self._frames.popleft()

    def sent(self, frame: str) -> None:
        """Notes that a frame has left."""
        self._waiting -= len(frame)
        if self._waiting <= LOW_WATER:
            self._room.set()
        if self._waiting <= FLOOD:
            self._calm.set()

    def close(self) -> None:
        """Notes that nothing leaves any more: frames are dropped, and nobody waits for them."""
        self._closed = True
        self._frames.clear()
        self._room.set()
        self._calm.set()

    async def room(self) -> None:
        """Waits until more sound may come."""
        await self._room.wait()

    async def calm(self) -> None:
        """Waits until the client has read enough for more of it to be read."""
        await self._calm.wait()
