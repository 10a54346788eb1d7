"""Files of sound → samples, piece by piece. What kind of file it is, its first bytes say: names and content types lie.

FFmpeg would also follow playlists, which name other files and addresses: it is told which kind to read.
"""

from collections.abc import Iterator
from types import MappingProxyType
from typing import BinaryIO, Final

import av
import numpy as np
from av.container import InputContainer

from pipeline.types import LISTENING_RATE, Pcm16

MAX_S = 3 * 60 * 60
"""Seconds of sound in a file: a small file can hold days of silence."""

_KINDS: Final = MappingProxyType(
    {
        # FFmpeg's name: where in the file it says so, and how
        "wav": ((0, b"RIFF"), (0, b"RF64")),
        "ogg": ((0, b"OggS"),),
        "flac": ((0, b"fLaC"),),
        "matroska": ((0, b"\x1aE\xdf\xa3"),),
        "mov": ((4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"), (4, b"skip")),
        "aiff": ((0, b"FORM"),),
        "caf": ((0, b"caff"),),
        "amr": ((0, b"#!AMR"),),
        "aac": ((0, b"\xff\xf1"), (0, b"\xff\xf9"), (0, b"\xff\xf0"), (0, b"\xff\xf8")),
        "mp3": (
            (0, b"ID3"),
            *((0, bytes((0xFF, second))) for second in (0xE2, 0xE3, *range(0xF2, 0xF8), *range(0xFA, 0xFE))),
        ),
    }
)

FILE_TYPES: Final = ("wav", "mp3", "m4a", "mp4", "3gp", "aac", "webm", "ogg", "opus", "flac", "aiff", "caf", "amr")
"""What these kinds are called by people."""

_HEAD = 12


class NotSoundError(Exception):
    """A file that cannot be read as sound; the message says what is wrong with it."""


class TooLongError(Exception):
    """There is more sound in a file than `MAX_S`."""


def read_sound(file: BinaryIO) -> Iterator[Pcm16]:
    """Yields the sound of a file, its channels mixed into one, int16 `[n]` at 16 kHz, as it is decoded.

    Damaged places are left out, as long as most of it can be read; a file that breaks off ends there.

    Raises:
        NotSoundError: it is no sound that can be read.
        TooLongError: there is too much of it.
    """
    kind = _kind(file)
    try:
        with av.open(file, "r", format=kind, metadata_errors="ignore") as container:
            total = 0
            for samples in _decoded(container):
                total += len(samples)
                if total > MAX_S * LISTENING_RATE:
                    raise TooLongError(f"There are more than {MAX_S // 3600} hours of sound in the file.")
                yield samples
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NotSoundError(f"The file looks like {kind}, and cannot be read: {reason}.") from error
    if not total:
        raise NotSoundError("There is no sound in the file.")


def _kind(file: BinaryIO) -> str:
    head = file.read(_HEAD)
    file.seek(0)
    if not head:
        raise NotSoundError("The file is empty.")
    for kind, signs in _KINDS.items():
        if any(head[at : at + len(sign)] == sign for at, sign in signs):
            return kind
    raise NotSoundError(f"The file is of no kind that is known here: {', '.join(FILE_TYPES)}.")


def _decoded(container: InputContainer) -> Iterator[Pcm16]:
    if not container.streams.audio:
        raise NotSoundError("There is no sound in the file, only other things.")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=LISTENING_RATE)
    good = bad = 0
    for packet in container.demux(container.streams.audio[0]):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            bad += 1
            continue
        for frame in frames:
            good += 1
            assert isinstance(frame, av.AudioFrame)
            frame.pts = None  # they may lie, and samples that follow each other need none
            yield from _samples(resampler, frame)
    if bad > good:
        raise NotSoundError("The file is damaged: most of it cannot be read.")
    yield from _samples(resampler, None)


def _samples(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> Iterator[Pcm16]:
    for resampled in resampler.resample(frame):
        samples: Pcm16 = resampled.to_ndarray().reshape(-1).astype(np.int16, copy=False)
        if len(samples):
            yield samples
