"""A language of tones: each letter is a short tone of its own pitch. Here is what the engines have in common."""

from typing import Any

import numpy as np

from pipeline.errors import StageError
from pipeline.types import Pcm16

LETTERS = " abcdefghijklmnopqrstuvwxyz"
PITCHES = {letter: 500.0 + 100 * index for index, letter in enumerate(LETTERS)}
"""Hertz of each letter."""

TONE_S, GAP_S = 0.08, 0.04
"""Seconds of a letter's tone, and of the quiet behind it, at speed 1."""

STEP = 160
"""Samples at 16 kHz that are loud or quiet as a whole: 10 ms."""

LONGEST = 40
"""Steps after which a loud sound is no letter."""


class TonesEngine:
    """What every engine has, whatever its stage."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.closed = False

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def check_open(self, stage: str) -> None:
        if self.closed:
            raise StageError(stage, "The engine has been closed.")


def letter_of(tone: list[Pcm16]) -> str:
    """Returns the letter of a tone; nothing where it is too short, too long or a noise."""
    if not 3 <= len(tone) <= LONGEST:
        return ""
    power = np.square(np.abs(np.fft.rfft(np.concatenate(tone) * np.hanning(len(tone) * STEP))))
    strongest = int(power.argmax())
    if power[max(0, strongest - 2) : strongest + 3].sum() < 0.8 * power.sum():
        return ""
    hertz = strongest * 100 / len(tone)
    return min(PITCHES, key=lambda letter: abs(PITCHES[letter] - hertz))
