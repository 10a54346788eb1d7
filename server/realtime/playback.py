"""The sound of replies where the server plays it itself, in real time: what is heard of it is known.

The player beside the machine is told what to play (`PlaySound`, `EndSound`, `DropSound`) and says when it begins and
when it has nothing to play (`SoundPlaying`, `SoundPaused`). In between sound takes its time, so that the place of the
playhead follows from the time of the event.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from server.realtime.commands import DropSound, EndSound, PlaySound
from server.realtime.conversation import Conversation, MessageItem
from server.realtime.inbox import SoundPaused, SoundPlaying
from server.realtime.outbox import Outbox
from server.realtime.server_events import (
    ItemTruncated,
    OutputAudioBufferCleared,
    OutputAudioBufferStarted,
    OutputAudioBufferStopped,
)
from server.realtime.usage import ms_to_ticks, ticks_to_ms


@dataclass(slots=True)
class _Sound:
    """The sound of an assistant item. Lengths are samples at 24 kHz."""

    response_id: str
    item: MessageItem
    in_conversation: bool
    """Whether it is said in the default conversation; responses out of band are not."""
    queued: int = 0
    ended: bool = False
    """Whether no more of it comes."""
    dropped: bool = False
    """Whether nothing more of it is played."""


class Playback:
    """What of a session's sound is to be played, is being played, and has been."""

    def __init__(self, outbox: Outbox, conversation: Conversation) -> None:
        self._outbox = outbox
        self._conversation = conversation
        self._sounds: dict[str, _Sound] = {}
        """What has not been played to its end, by item."""
        self._under_way: set[str] = set()
        """The responses that may still have sound to come."""
        self._muted: set[str] = set()
        """Those of them of which the client wants to hear no more."""
        self._told: str | None = None
        """The response that the client was told is being played."""
        self._playing: str | None = None
        """The item under the playhead."""
        self._place = 0
        """Where in it the playhead was, in samples, when it was last known."""
        self._since: int | None = None
        """When that was, in ms; None: it stands there."""

    def begin(self, response_id: str, item: MessageItem, in_conversation: bool) -> None:
        """Takes an item whose sound comes next."""
        self._under_way.add(response_id)
        self._sounds[item.id] = _Sound(response_id, item, in_conversation, dropped=response_id in self._muted)

    def play(self, item: MessageItem, audio: bytes, ticks: int) -> None:
        """Has sound played, PCM16 at 24 kHz, after what there is of the item."""
        sound = self._sounds[item.id]
        if not sound.dropped:
            sound.queued += ticks
            self._outbox.put(PlaySound(sound.response_id, item.id, audio))

    def end(self, item: MessageItem) -> None:
        """Notes that no more sound of an item comes."""
        sound = self._sounds[item.id]
        sound.ended = True
        if sound.dropped or not sound.queued:
            del self._sounds[item.id]
        else:
            self._outbox.put(EndSound(item.id))

    def response_is_over(self, response_id: str) -> None:
        """Notes that a response has no sound to come any more."""
        self._under_way.discard(response_id)
        self._muted.discard(response_id)

    def playing(self, event: SoundPlaying) -> None:
        """The player has begun with an item, or goes on with it."""
        self._follow(event.item_id, event.place)
        self._since = self._outbox.now
        sound = self._sounds.get(event.item_id)
        if sound is not None and sound.response_id != self._told:
            self._stop()
            self._told = sound.response_id
            self._outbox.send(OutputAudioBufferStarted(response_id=self._told))

    def paused(self, event: SoundPaused) -> None:
        """The player has played all that it has of an item."""
        self._follow(event.item_id, event.place)
        self._since = None

    def _follow(self, item_id: str, place: int) -> None:
        before = self._sounds.get(self._playing or "")
        if before is not None and before.item.id != item_id and not before.dropped:
            del self._sounds[before.item.id]  # the player goes on to the next only when this one is over
        self._playing, self._place = item_id, place

    def settle(self) -> None:
        """Tells of a response whose sound has all been played. To be called after each event."""
        here = self._sounds.get(self._playing) if self._playing is not None else None
        if here is not None and self._since is None and here.ended and self._place >= here.queued:
            del self._sounds[here.item.id]
        if self._told is not None and self._told not in self._under_way and not self._waits(self._told):
            self._stop()

    def _stop(self) -> None:
        if self._told is not None:
            self._outbox.send(OutputAudioBufferStopped(response_id=self._told))
            self._told = None

    def _waits(self, response_id: str) -> bool:
        return any(sound.response_id == response_id for sound in self._sounds.values())

    def interrupt(self) -> None:
        """The user speaks: what the default conversation has to say is cut off."""
        self._cut([sound for sound in self._sounds.values() if sound.in_conversation])

    def clear(self) -> None:
        """The client wants to hear no more of anything that is being played, or waits to be."""
        self._muted |= self._under_way
        self._cut(list(self._sounds.values()))

    def _cut(self, sounds: Iterable[_Sound]) -> None:
        """Has nothing more of these played, and notes in the history how far they were heard."""
        sounds = [sound for sound in sounds if not sound.dropped]
        places = [self._heard(sound) for sound in sounds]
        for sound in sounds:
            sound.dropped = True
            self._outbox.put(DropSound(sound.item.id))
            if sound.ended:
                del self._sounds[sound.item.id]
        if self._told is not None and self._told in {sound.response_id for sound in sounds}:
            self._outbox.send(OutputAudioBufferCleared(response_id=self._told))
            self._told = None
        for sound, place in zip(sounds, places, strict=True):
            is_whole = sound.ended and place >= sound.queued
            if self._conversation.find(sound.item.id) is sound.item and not is_whole:
                self._truncate(sound.item, place)

    def _truncate(self, item: MessageItem, place: int) -> None:
        spoken = item.spoken
        assert spoken is not None
        ms = ticks_to_ms(min(place, spoken.sent))  # the client may have cut it shorter
        spoken.truncate(ms, in_progress=item.status == "in_progress")
        self._outbox.send(ItemTruncated(item_id=item.id, content_index=0, audio_end_ms=ms))

    def _heard(self, sound: _Sound) -> int:
        """Returns how much of a sound has been played by now, in samples."""
        if sound.item.id != self._playing:
            return 0
        if self._since is None:
            return self._place
        return min(sound.queued, self._place + ms_to_ticks(self._outbox.now - self._since))

    def ends(self) -> int:
        """Returns when all that there is will have been played, in ms; 0 when it has been."""
        sounds = [sound for sound in self._sounds.values() if not sound.dropped]
        left = sum(sound.queued - (self._place if sound.item.id == self._playing else 0) for sound in sounds)
        # Counted from when the place was known, so that it is the same moment whenever it is asked for.
        return (self._outbox.now if self._since is None else self._since) + ticks_to_ms(left) if left else 0
