"""What engines are given to hear besides speech: int16 `[n]` at 16 kHz."""

from collections.abc import Mapping

import numpy as np

from pipeline.types import LISTENING_RATE, Pcm16
from tests.speech import silence


def digital_silence(seconds: float) -> Pcm16:
    return np.zeros(round(seconds * LISTENING_RATE), np.int16)


def noise(seconds: float, level: float = 3000) -> Pcm16:
    """Returns white noise of that standard deviation."""
    sound = np.random.default_rng(1).normal(0, level, round(seconds * LISTENING_RATE))
    return np.clip(sound, -32768, 32767).astype(np.int16)


def hum(seconds: float) -> Pcm16:
    """Returns what a badly earthed microphone hears: 50 Hz."""
    time = np.arange(round(seconds * LISTENING_RATE)) / LISTENING_RATE
    return (2000 * np.sin(2 * np.pi * 50 * time)).astype(np.int16)


def overdriven(seconds: float) -> Pcm16:
    """Returns a square wave at full scale."""
    time = np.arange(round(seconds * LISTENING_RATE))
    return np.where(time // 40 % 2, -32768, 32767).astype(np.int16)


def wordless(seconds: float) -> Mapping[str, Pcm16]:
    """Returns sounds without a word in them."""
    return {
        "digital silence": digital_silence(seconds),
        "a quiet room": silence(seconds),
        "noise": noise(seconds),
        "faint noise": noise(seconds, 100),
        "hum": hum(seconds),
    }
