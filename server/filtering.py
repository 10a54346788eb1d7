"""What is done to a session's sound before anything hears it."""

import asyncio
from dataclasses import replace

import numpy as np

from pipeline.audio import pcm16_from_bytes, pcm16_to_bytes, slices
from pipeline.noise import NoiseField, NoiseReducer
from pipeline.types import WIRE_RATE, Pcm16
from server.realtime import commands as do

_SLICE = WIRE_RATE // 2
"""Samples that are worked through in one go, some 3 ms of computing: the loop belongs to other sessions as well."""


class SoundFilter:
    """Takes the noise out of appended sound, where the session says so."""

    def __init__(self) -> None:
        self._reducer: NoiseReducer | None = None

    @property
    def is_on(self) -> bool:
        return self._reducer is not None

    def reduce_noise(self, field: NoiseField | None) -> None:
        """From now on; None: sound passes as it is."""
        if field is None:
            self._reducer = None
        elif self._reducer is None:
            self._reducer = NoiseReducer(field)
        else:
            self._reducer.field = field

    async def apply(self, commands: list[do.Command]) -> list[do.Command]:
        """Returns the commands, with the sound in them filtered. Positions stay what they are."""
        if self._reducer is None:
            return commands
        return [await self._filtered(each) if isinstance(each, do.StoreAudio) else each for each in commands]

    async def _filtered(self, command: do.StoreAudio) -> do.StoreAudio:
        assert self._reducer is not None
        pieces: list[Pcm16] = []
        for piece in slices(pcm16_from_bytes(command.audio), _SLICE):
            if pieces:
                await asyncio.sleep(0)
            pieces.append(self._reducer.process(piece))
        return replace(command, audio=pcm16_to_bytes(np.concatenate((*pieces, np.zeros(0, np.int16)))))
