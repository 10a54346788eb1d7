"""The sound of items that may be retrieved, as long as there is room for it."""

from collections import OrderedDict

import msgspec
from msgspec import UNSET

from pipeline.types import Pcm16
from server.realtime.given import fitting
from server.realtime.schema import AudioFormat, Item
from server.realtime.sound_formats import encoder_of

MAX_TICKS = 2 * 1024 * 1024
"""Samples at 24 kHz that a session keeps of its user's sound: 87 seconds, 4 MiB. The oldest goes first."""


class Keepsakes:
    """Sound of one session's items, int16 at 24 kHz, by item and content part."""

    def __init__(self) -> None:
        self._sounds: OrderedDict[tuple[str, int], Pcm16] = OrderedDict()
        self._ticks = 0

    @property
    def kept(self) -> int:
        """Samples that are held in memory."""
        return self._ticks

    def keep(self, item_id: str, content_index: int, samples: Pcm16) -> None:
        """Keeps the sound of a part; of too much, nothing."""
        if len(samples) > MAX_TICKS:
            return
        self._sounds[item_id, content_index] = samples
        self._ticks += len(samples)
        while self._ticks > MAX_TICKS:
            _, oldest = self._sounds.popitem(last=False)
            self._ticks -= len(oldest)

    def forget(self, item_id: str) -> None:
        """Lets go of the sound of an item that is no more."""
        for key in [key for key in self._sounds if key[0] == item_id]:
            self._ticks -= len(self._sounds.pop(key))

    def with_sound(self, item: Item, format: AudioFormat) -> Item:
        """Returns the item with what is kept of its sound, as far as an event has room for it."""
        if item.content is UNSET:
            return item
        parts = list(item.content)
        for index, part in enumerate(parts):
            if (samples := self._sounds.get((item.id, index))) is not None:
                encoder = encoder_of(format)
                audio = encoder.encode(samples) + encoder.flush()
                parts[index] = msgspec.structs.replace(part, audio=audio)
        return fitting(msgspec.structs.replace(item, content=parts))
