"""`parley talk`: a conversation by microphone and loudspeaker.

On loudspeakers the microphone hears the reply. So that Parley does not interrupt itself, the server is sent silence
in place of the microphone while a reply plays and a moment longer. With headphones it listens all the time, and
whoever speaks over the reply interrupts it.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from pipeline.audio import StreamResampler, pcm16_from_bytes
from pipeline.types import WIRE_RATE, Pcm16
from server.cli.address import Address
from server.cli.audio_devices import Microphone, Speaker, open_microphone, open_speaker
from server.cli.enter_key import on_enter
from server.cli.failure import RunFailedError
from server.cli.loudness import level_db
from server.cli.playback import Playback
from server.cli.realtime_client import Event, RealtimeClient, audio_of, connect, error_text
from server.cli.session_setup import prepare
from server.cli.turn_log import status_problem
from server.cli.view import View

TAIL_S: Final = 0.3
"""How long the microphone stays off after the loudspeaker has fallen silent: the room's echo."""

SHORTEST_S: Final = 0.2
"""A shorter press of Enter is taken for a mistake; servers refuse to commit less than 0.1 s."""


@dataclass(frozen=True, slots=True)
class Block:
    """Sound from the microphone, int16 at 24 kHz."""

    samples: Pcm16


@dataclass(frozen=True, slots=True)
class Enter:
    """Enter was pressed."""


@dataclass(frozen=True, slots=True)
class Broken:
    """It cannot go on."""

    error: BaseException


News: TypeAlias = Event | Block | Enter | Broken


def talk_live(
    server: Address, view: View, *, headphones: bool, push_to_talk: bool, changes: Mapping[str, object]
) -> int:
    """Talks until Ctrl-C, which is how a conversation ends: returns 0.

    Raises:
        RunFailedError: there is no server, no microphone or no loudspeaker, or one of them goes away.
    """
    microphone, speaker = open_microphone(), open_speaker()
    try:
        asyncio.run(
            _talk(
                server,
                view,
                microphone=microphone,
                speaker=speaker,
                headphones=headphones,
                push_to_talk=push_to_talk,
                changes=changes,
            )
        )
    except KeyboardInterrupt:
        return 0
    finally:
        microphone.close()
        speaker.close()
    return 0


async def _talk(
    server: Address,
    view: View,
    *,
    microphone: Microphone,
    speaker: Speaker,
    headphones: bool,
    push_to_talk: bool,
    changes: Mapping[str, object],
) -> None:
    async with connect(server) as client:
        await prepare(client, changes, turn_detection=not push_to_talk)
        talk = LiveTalk(client, microphone, speaker, view, headphones=headphones, push_to_talk=push_to_talk)
        with view:
            view.note(f"Connected to {server} ({client.session.get('model', 'unknown model')}). Ctrl-C ends it.")
            if push_to_talk:
                view.note("Press Enter, speak, press Enter again.")
            elif not headphones:
                view.note("The microphone is off while the reply plays. With headphones: --headphones")
            with on_enter(talk.press_enter) if push_to_talk else contextlib.nullcontext():
                await talk.run()


@dataclass(slots=True)
class _Words:
    """The words of one item, each with the sample of its sound at which it begins; shown as they are spoken."""

    item_id: str
    waiting: deque[tuple[int, str]] = field(default_factory=deque)


class LiveTalk:
    """One conversation. `run` lives until something breaks or it is cancelled."""

    def __init__(
        self,
        client: RealtimeClient,
        microphone: Microphone,
        speaker: Speaker,
        view: View,
        *,
        headphones: bool = False,
        push_to_talk: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._microphone = microphone
        self._speaker = speaker
        self._view = view
        self._headphones = headphones
        self._push_to_talk = push_to_talk
        self._clock = clock
        self._playback = Playback(speaker.rate)
        self._resampler = StreamResampler(microphone.rate, WIRE_RATE)
        self._news: asyncio.Queue[News] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._quiet_at = -TAIL_S
        """When the loudspeaker falls silent, or did."""
        self._words: deque[_Words] = deque()
        self._partial = ""
        self._responses: set[str] = set()
        """The active ones."""
        self._talking = not push_to_talk
        """Whether the microphone is wanted."""
        self._spoken = 0
        """Samples sent since Enter."""

    async def run(self) -> None:
        """Talks until cancelled.

        Raises:
            RunFailedError: the server, the microphone or the loudspeaker goes away.
        """
        self._loop = asyncio.get_running_loop()
        receiving = asyncio.create_task(self._receive())
        try:
            self._speaker.start(self._playback.pull, self._on_end("loudspeaker"))
            self._microphone.start(self._deliver, self._on_end("microphone"))
            self._show_state("listening")
            while True:
                await self._handle(await self._news.get())
        finally:
            self._microphone.close()
            self._speaker.close()
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    def press_enter(self) -> None:
        """Says that Enter was pressed; from any thread."""
        self._post(Enter())

    # --- news from outside ---

    async def _receive(self) -> None:
        try:
            while True:
                self._news.put_nowait(await self._client.receive())
        except Exception as error:  # `run` has to know
            self._news.put_nowait(Broken(error))

    def _deliver(self, samples: Pcm16) -> None:
        self._post(Block(self._resampler.process(samples)))

    def _on_end(self, what: str) -> Callable[[], None]:
        return lambda: self._post(Broken(RunFailedError(f"The {what} has gone away.")))

    def _post(self, news: News) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits for news
                self._loop.call_soon_threadsafe(self._news.put_nowait, news)

    async def _handle(self, news: News) -> None:
        if isinstance(news, Block):
            await self._hear(news.samples)
        elif isinstance(news, Enter):
            await self._toggle()
        elif isinstance(news, Broken):
            raise news.error
        else:
            await self._take(news)

    # --- the microphone ---

    async def _hear(self, samples: Pcm16) -> None:
        """Sends what the microphone hears, or silence; its blocks are also what moves the screen on."""
        self._show_words()
        muted = self._muted()
        self._view.level(None if muted or not self._talking else level_db(samples))
        if not self._talking or not len(samples):
            return
        # Silence, not nothing: the server's clock is the sound that it gets.
        await self._client.append(np.zeros_like(samples) if muted else samples)
        self._spoken += len(samples)

    def _muted(self) -> bool:
        """Whether the loudspeaker can be heard by the microphone."""
        now = self._clock()
        if self._playback.playing:
            self._quiet_at = now + self._speaker.latency_s
        return not self._headphones and not self._push_to_talk and now < self._quiet_at + TAIL_S

    async def _toggle(self) -> None:
        if not self._talking:
            await self._interrupt()
            for response in self._responses:
                await self._client.send("response.cancel", response_id=response)
            self._talking, self._spoken = True, 0
            self._show_state("recording; Enter ends it")
            return
        self._talking = False
        if self._spoken < SHORTEST_S * WIRE_RATE:
            await self._client.send("input_audio_buffer.clear")
            self._show_state("listening")
            return
        await self._client.send("input_audio_buffer.commit")
        await self._client.send("response.create")
        self._show_state("thinking")

    # --- the server ---

    async def _take(self, event: Event) -> None:
        match str(event.get("type")).split("."):
            case ["error"]:
                self._view.note(f"The server reports an error: {error_text(event)}", "yellow")
            case ["input_audio_buffer", what]:
                await self._take_input(what)
            case ["conversation", "item", "input_audio_transcription", what]:
                self._take_transcription(what, event)
            case ["response", *what]:
                self._take_response(".".join(what), event)

    async def _take_input(self, what: str) -> None:
        if what == "speech_started":
            await self._interrupt()
            self._show_state("hearing you")
        elif what == "speech_stopped":
            self._show_state("thinking")

    def _take_transcription(self, what: str, event: Event) -> None:
        if what == "delta":
            self._partial += str(event.get("delta", ""))
            self._view.hearing(self._partial)
            return
        self._partial = ""
        if what == "completed":
            self._view.heard(str(event.get("transcript") or "").strip() or "(nothing understood)")
        elif what == "failed":
            self._view.note(f"transcription failed: {error_text(event)}", "yellow")

    def _take_response(self, what: str, event: Event) -> None:
        item_id = str(event.get("item_id"))
        match what:
            case "created":
                self._responses.add(str(event["response"]["id"]))
            case "done":
                self._end_response(event["response"])
            case "output_audio_transcript.delta" | "output_text.delta":
                self._add_words(item_id, str(event.get("delta", "")))
            case "output_audio.delta":
                self._playback.push(item_id, event.get("content_index", 0), pcm16_from_bytes(audio_of(event)))
                self._show_state("speaking")
            case "output_audio.done":
                self._playback.finish(item_id)

    def _end_response(self, response: Event) -> None:
        self._responses.discard(str(response["id"]))
        if response.get("status") in ("failed", "incomplete"):
            self._view.note(f"The response is {response['status']}: {status_problem(response)}", "yellow")
        if not response.get("output"):
            self._show_state("listening")

    # --- the loudspeaker ---

    async def _interrupt(self) -> None:
        """Stops the reply at once, and tells the server how much of it was heard."""
        self._show_words()
        unfinished = bool(self._words)
        cuts = self._playback.stop()
        if unfinished:
            self._words.clear()
            self._view.end_reply("— interrupted")
        for cut in cuts:
            await self._client.send(
                "conversation.item.truncate",
                item_id=cut.item_id,
                content_index=cut.content_index,
                audio_end_ms=cut.played_ms,
            )

    def _add_words(self, item_id: str, text: str) -> None:
        if self._playback.is_over(item_id):  # it was interrupted
            return
        if not self._words or self._words[-1].item_id != item_id:
            self._words.append(_Words(item_id))
        self._words[-1].waiting.append((self._playback.pushed(item_id), text))

    def _show_words(self) -> None:
        """Shows the words whose sound has begun, and ends the lines whose sound has ended."""
        while self._words:
            words = self._words[0]
            pulled = self._playback.pulled(words.item_id)
            while words.waiting and (pulled is None or words.waiting[0][0] <= pulled):
                self._view.reply(words.waiting.popleft()[1])
            # What has no sound is over with its response.
            over = self._playback.is_over(words.item_id) or (pulled is None and not self._responses)
            if not over:
                return
            self._words.popleft()
            self._view.end_reply()
            self._show_state("listening")

    def _show_state(self, state: str) -> None:
        hint = ""
        if state == "listening" and self._push_to_talk:
            state = "press Enter to speak"
        elif state == "speaking" and not self._headphones and not self._push_to_talk:
            hint = " (the microphone is off)"
        self._view.status(f"{state}{hint}")
