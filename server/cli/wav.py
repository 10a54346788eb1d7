"""WAV files, in and out."""

import io
import os
import wave
from pathlib import Path

import numpy as np

from pipeline.audio import StreamResampler, pcm16_to_bytes
from pipeline.errors import ParleyError
from pipeline.types import Pcm16, Samples


class BadRecordingError(ParleyError):
    """A file cannot be read as a recording. The message says what would help."""


def read_wav(path: Path) -> tuple[Pcm16, int]:
    """Reads PCM of 8, 16, 24 or 32 bits and mixes its channels into one.

    Returns:
        int16 `[n]`, and its sample rate.

    Raises:
        BadRecordingError: the file cannot be read, is no WAV of PCM, or holds no sound.
    """
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except OSError as error:
        raise BadRecordingError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (wave.Error, EOFError) as error:
        problem = f" ({error})" if str(error) else ""
        raise BadRecordingError(f"{path} is not a WAV file of plain PCM{problem}. {_convert(path)}") from error
    if width not in (1, 2, 3, 4) or rate <= 0:
        raise BadRecordingError(f"{path} has samples of {8 * width} bits at {rate} Hz. {_convert(path)}")
    whole = len(data) - len(data) % (width * channels)
    if not whole:
        raise BadRecordingError(f"{path} holds no sound.")
    samples = _to_float(data[:whole], width).reshape(-1, channels).mean(axis=1)
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16), rate


def write_wav(path: Path, samples: Pcm16, rate: int) -> None:
    """Writes 16-bit mono, all or nothing: the file is complete whenever it is there.

    Raises:
        ParleyError: it cannot be written.
    """
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm16_to_bytes(samples))
    path = path.resolve()  # what a link leads to is replaced, not the link
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file():  # a pipe or a device is written to, not replaced
            path.write_bytes(content.getvalue())
            return
        try:
            partial.write_bytes(content.getvalue())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ParleyError(f"{path} cannot be written: {error.strerror or error}.") from error


def check_writable(path: Path) -> None:
    """Finds out before the work whether `write_wav` has a place to write to.

    Raises:
        ParleyError: it has none.
    """
    if path.is_dir():
        raise ParleyError(f"{path} is a folder. Name a file to write to.")
    if not path.parent.is_dir():
        raise ParleyError(f"There is no folder {path.parent} to write {path.name} to. Create it first.")


def resampled(samples: Pcm16, rate: int, wanted: int) -> Pcm16:
    """Returns a whole recording at another sample rate."""
    stream = StreamResampler(rate, wanted)
    return np.concatenate([stream.process(samples), stream.flush()])


def _to_float(data: bytes, width: int) -> Samples:
    """Returns PCM of `width` bytes as float32 in [-1, 1). 8-bit WAV is unsigned, the others are signed."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128.0) / np.float32(128.0)
    if width == 3:
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, width = padded.tobytes(), 4
    return np.frombuffer(data, f"<i{width}").astype(np.float32) / np.float32(2.0 ** (8 * width - 1))


def _convert(path: Path) -> str:
    return f"Convert it: ffmpeg -i {path} -ac 1 -ar 24000 -c:a pcm_s16le {path.stem}-pcm.wav"
