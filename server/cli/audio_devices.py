"""Microphone and loudspeaker: a small interface, and the real ones through PortAudio.

Both call back on a thread of the audio system, which must not wait: what they are given has to return at once.
"""

import sys
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

import numpy as np

from pipeline.types import WIRE_RATE, Pcm16
from server.cli.failure import RunFailedError

_BLOCK_S: Final = 0.02
"""Seconds of sound a block of the microphone's."""

_WITHOUT = "Without them, use files: parley talk --in FILE --out FILE, parley say TEXT --out FILE, parley listen FILE."


class Microphone(Protocol):
    rate: int
    """Samples a second of what it delivers."""

    def start(self, deliver: Callable[[Pcm16], None], ended: Callable[[], None]) -> None:
        """Delivers the sound, int16 `[n]`, block by block, until `close`; `ended` if it stops by itself."""

    def close(self) -> None:
        """Ends the sound. Again: does nothing."""


class Speaker(Protocol):
    rate: int
    """Samples a second of what it plays."""
    latency_s: float
    """How long a sample takes from `fill` to the ear, once started."""

    def start(self, fill: Callable[[int], Pcm16], ended: Callable[[], None]) -> None:
        """Asks `fill(n)` for the next `n` samples, int16, until `close`; `ended` if it stops by itself."""

    def close(self) -> None:
        """Ends the sound at once. Again: does nothing."""


def open_microphone() -> Microphone:
    """Returns the system's default microphone.

    Raises:
        RunFailedError: there is none, or no PortAudio. Says what to do.
    """
    sounddevice = _sounddevice()
    return _SystemMicrophone(sounddevice, *_settings(sounddevice, "input"))


def open_speaker() -> Speaker:
    """Returns the system's default loudspeaker.

    Raises:
        RunFailedError: there is none, or no PortAudio. Says what to do.
    """
    sounddevice = _sounddevice()
    return _SystemSpeaker(sounddevice, *_settings(sounddevice, "output"))


class _SystemStream:
    """What both have in common: one PortAudio stream, opened by `start`."""

    def __init__(self, sounddevice: Any, rate: int, channels: int) -> None:
        self.rate = rate
        self._sounddevice = sounddevice
        self._channels = channels
        self._stream: Any = None
        self._closing = False

    def close(self) -> None:
        self._closing = True
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close(ignore_errors=True)

    def _start(
        self, kind: Any, name: str, callback: Callable[..., None], ended: Callable[[], None], block: int
    ) -> None:
        def finished() -> None:
            if not self._closing:
                ended()

        try:
            self._stream = kind(
                samplerate=self.rate,
                channels=self._channels,
                dtype="int16",
                blocksize=block,
                latency="low",
                callback=callback,
                finished_callback=finished,
            )
            self._stream.start()
        except self._sounddevice.PortAudioError as error:
            self.close()
            raise RunFailedError(f"The {name} cannot be opened: {error}. {_WITHOUT}") from error


class _SystemMicrophone(_SystemStream):
    def start(self, deliver: Callable[[Pcm16], None], ended: Callable[[], None]) -> None:
        def callback(block: Any, _frames: int, _time: object, _status: object) -> None:
            deliver(np.array(block[:, 0], np.int16))  # a copy: PortAudio uses the block again

        self._start(self._sounddevice.InputStream, "microphone", callback, ended, block=round(self.rate * _BLOCK_S))


class _SystemSpeaker(_SystemStream):
    latency_s = 0.0

    def start(self, fill: Callable[[int], Pcm16], ended: Callable[[], None]) -> None:
        def callback(block: Any, frames: int, _time: object, _status: object) -> None:
            block[:] = fill(frames)[:, np.newaxis]

        # 0: as PortAudio likes best.
        self._start(self._sounddevice.OutputStream, "loudspeaker", callback, ended, block=0)
        self.latency_s = float(self._stream.latency)


def _sounddevice() -> Any:
    """Imports the library; it looks for PortAudio when imported."""
    try:
        import sounddevice
    except OSError as error:
        raise RunFailedError(f"PortAudio, the way to microphone and loudspeaker, is missing. {_install()}") from error
    return sounddevice


def _install() -> str:
    if sys.platform == "darwin":
        return f"Install it with: brew install portaudio\n{_WITHOUT}"
    return (
        "Install it: sudo apt install libportaudio2 (Debian, Ubuntu), sudo dnf install portaudio (Fedora), "
        f"sudo pacman -S portaudio (Arch).\n{_WITHOUT}"
    )


def _settings(sounddevice: Any, kind: Literal["input", "output"]) -> tuple[int, int]:
    """Returns a sample rate and a number of channels that the default device takes: ours if it does."""
    name = "microphone" if kind == "input" else "loudspeaker"
    try:
        device = sounddevice.query_devices(kind=kind)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise RunFailedError(f"There is no {name} on this machine that Parley can use. {_WITHOUT}") from error
    check = sounddevice.check_input_settings if kind == "input" else sounddevice.check_output_settings
    problem: Exception | None = None
    for rate in (WIRE_RATE, round(device["default_samplerate"])):
        for channels in (1, 2):
            try:
                check(channels=channels, dtype="int16", samplerate=rate)
            except (sounddevice.PortAudioError, ValueError) as error:
                problem = error
            else:
                return rate, channels
    raise RunFailedError(f"The {name} ({device['name']}) takes no 16-bit sound: {problem}. {_WITHOUT}")
