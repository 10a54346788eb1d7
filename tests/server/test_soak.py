"""Nothing grows but the conversation: an hour in small, with all that happens in one. `scripts.soak` does the hour."""

import asyncio
import gc
import threading
from collections import Counter
from itertools import pairwise

from scripts.soak.sizes import grown, open_sessions, sizes
from tests.fakes import fake_line
from tests.server.test_session import Client, connect, silence, voice
from tests.threads import end_of_threads, until

KEPT_PER_TURN = (
    "._conversation._items",
    "._keepsakes.",  # the items' sound: at most 4 MiB, see keepsakes.py
)
"""What grows by nature, and is bounded or the client's to delete."""


class Talk:
    """A client that does everything over and over, and waits for the end of it each time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._answered = 0
        self._cleared = 0

    async def round(self) -> None:
        await self._spoken_turn()
        await self._spoken_turn(interrupted=True)
        await self._clear()
        await self._written_turn()
        await self._long_silence()

    async def _answer(self) -> None:
        self._answered += 1
        await self._client.wait_for("response.done", self._answered)

    async def _spoken_turn(self, interrupted: bool = False) -> None:
        # A pause within it: what is made for the first half is thrown away.
        self._client.say(voice(400), silence(200), voice(300), silence(700))
        if interrupted:
            await self._client.wait_for("response.output_audio.delta", 1)
            self._client.say(voice(400), silence(700))
            await self._answer()
        await self._answer()

    async def _clear(self) -> None:
        self._client.say(voice(300))
        self._client.send(type="input_audio_buffer.clear")
        self._cleared += 1
        await self._client.wait_for("input_audio_buffer.cleared", self._cleared)

    async def _written_turn(self) -> None:
        self._client.ask()
        await self._answer()
        self._client.send(type="response.create", response={"conversation": "none", "output_modalities": ["text"]})
        await self._answer()
        self._client.configure(instructions=f"Turn {self._answered % 10}.")
        self._client.send(type="response.cancel", response_id="resp_unknown")

    async def _long_silence(self) -> None:
        self._client.say(silence(20_000), frame=4_800)
        feed = self._client.session._voice
        await until(lambda: not feed._heard - feed._judged >= feed._hub.frame_ticks and self._quiet())

    def _quiet(self) -> bool:
        return self._client._frames.empty() and self._client.session._inbox.is_empty


def own(found: Counter[str]) -> Counter[str]:
    return Counter({path: size for path, size in found.items() if not any(kept in path for kept in KEPT_PER_TURN)})


async def test_turn_after_turn_a_session_keeps_nothing_but_the_conversation() -> None:
    async with connect(fake_line(), timings=True) as client:
        talk = Talk(client)
        seen: list[Counter[str]] = []
        for _ in range(4):
            for _ in range(3):
                await talk.round()
            await end_of_threads("transcription")
            seen.append(own(sizes(client.session)))
        # Whatever a round leaves behind, more leave more of it, every time; what comes and goes does not always grow.
        steps = [grown(before, after, slack=0.0) for before, after in pairwise(seen)]
        assert {path: found for path, found in steps[-1].items() if all(path in step for step in steps)} == {}


async def test_sessions_that_come_and_go_leave_nothing() -> None:
    line = fake_line()
    tasks = asyncio.all_tasks()
    for _ in range(20):
        async with connect(line) as client:
            client.say(voice(200), silence(100))
            await client.wait_for("input_audio_buffer.speech_started")
        del client
    await end_of_threads()
    # The last verdict on the last session's sound may still be on its way to the loop.
    await until(lambda: gc.collect() >= 0 and not open_sessions())
    assert asyncio.all_tasks() == tasks
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("parley")]
