"""A Piper voice's weights in onnxruntime: phoneme ids → sound, in slices where the voice can be cut (piper_cut.py).

The first slice is short, so that a long sentence is heard at once; each is twice as long as the one before, because a
slice costs its margins, too. So sound does not run dry on a machine that makes it four times as fast as it is spoken.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np
import onnxruntime

from pipeline.onnx_session import open_session
from pipeline.stages import Device
from pipeline.tts.piper_cut import SPEAKER_INPUT, Parts, UncuttableError, cut
from pipeline.types import Samples

log = logging.getLogger(__name__)

FIRST_FRAMES: Final = 20
"""Frames of the first slice: 232 ms of sound where a frame is 256 samples at 22,050 Hz. Half of it would save 6 ms on
two cores, and be played before the next one is made on a slow machine."""

MOST_FRAMES: Final = 320
"""Frames of the longest slices, 3.7 s: the margins then are a tenth of the work."""

_TRIAL_STRETCH: Final = 4.0
"""How much slower than its own speed a voice speaks to be tried: long enough that a slice is not all there is."""

_EQUAL: Final = 0.01
"""How much a slice may differ from the whole, as a part of its peak, for the voice to be taken for one that can be
sliced: a GPU rounds to 11 bits."""

Scales = tuple[float, float, float]
"""Variation of the sound, length of the phonemes, variation of their lengths."""


class Sound(Protocol):
    """What makes a voice's sound. Several threads may call it at the same time."""

    inputs: frozenset[str]
    """What the voice takes."""
    device: str

    def speak(self, ids: Sequence[int], speaker: int, scales: Scales, run: onnxruntime.RunOptions) -> Iterator[Samples]:
        """Yields a sentence's sound, float32 `[n]` in [-1, 1], piece by piece.

        Args:
            ids: the sentence in phoneme ids.
            speaker: which speaker says it.
            scales: see `Scales`.
            run: its `terminate`, set by another thread, ends the run that is under way within milliseconds, with an
                exception.
        """


def open_sound(
    path: Path, device: Device, threads: int, *, trial: Callable[[Sound], object], mend: str, option: str
) -> Sound:
    """Opens a voice's weights: in slices if it can be cut, else as a whole, which the log tells.

    Args:
        path: the .onnx file.
        device: what models.yaml says.
        threads: how many compute a run.
        trial: says something, so that a voice that cannot compute here is known before it is needed.
        mend: what to do about a file that cannot be opened, for the error.
        option: the option that names the file, for the error.

    Raises:
        EngineError: as `onnx_session.open_session`, or what `trial` raises.
    """
    problem = ""
    try:
        parts = cut(path.read_bytes())
    except OSError:
        parts = None  # whoever opens it says why
    except UncuttableError as error:
        parts, problem = None, str(error)
    if parts is not None:
        try:
            sliced = SlicedSound(path, parts, device, threads, mend=mend, option=option)
            trial(sliced)
            return sliced
        except UnequalError as error:
            problem = str(error)
        except Exception:  # onnxruntime raises classes of its own; if the voice is at fault, the whole will say so
            log.debug("%s: its parts cannot be run", path, exc_info=True)
            problem = "its parts cannot be run"
    whole = WholeSound(path, device, threads, trial, mend=mend, option=option)
    log.warning("%s is spoken sentence by sentence, not in slices: %s", path.name, problem)
    return whole


class WholeSound:
    """A voice that makes a sentence in one run."""

    def __init__(
        self, path: Path, device: Device, threads: int, trial: Callable[[Sound], object], *, mend: str, option: str
    ) -> None:
        def try_run(session: onnxruntime.InferenceSession) -> None:
            self._take(session)
            trial(self)

        session, self.device = open_session(
            path, device, threads=threads, fixed_shapes=False, trial=try_run, mend=mend, option=option
        )
        self._take(session)

    def _take(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self.inputs = frozenset(each.name for each in session.get_inputs())

    def speak(self, ids: Sequence[int], speaker: int, scales: Scales, run: onnxruntime.RunOptions) -> Iterator[Samples]:
        """Yields all of it at once."""
        output = self._session.get_outputs()[0].name
        (sound,) = self._session.run([output], _fitting(self._session, _feeds(ids, speaker, scales)), run)
        yield cast(Samples, np.asarray(sound, np.float32).reshape(-1))


class UnequalError(Exception):
    """The slices of a voice are not what they are in the whole."""


class SlicedSound:
    """A voice in three parts: the text side is run on a sentence, flow and decoder on slices of it."""

    def __init__(self, path: Path, parts: Parts, device: Device, threads: int, *, mend: str, option: str) -> None:
        def open_part(part: bytes) -> tuple[onnxruntime.InferenceSession, str]:
            return open_session(path, device, threads=threads, fixed_shapes=False, mend=mend, option=option, part=part)

        self.inputs = parts.inputs
        self._parts = parts
        self._text, _ = open_part(parts.text)
        self._flow, _ = open_part(parts.flow)
        self._decoder, self.device = open_part(parts.decoder)

    def speak(self, ids: Sequence[int], speaker: int, scales: Scales, run: onnxruntime.RunOptions) -> Iterator[Samples]:
        """Yields it in slices that together are the whole, to within rounding."""
        yield from self._sound(self._begin(ids, speaker, scales, run), run, slices)

    def check(self, ids: Sequence[int], speaker: int, scales: Scales) -> None:
        """Compares the first slices of a sentence with the whole.

        Raises:
            UnequalError: they differ.
        """
        noise, length, noise_w = scales
        run = onnxruntime.RunOptions()
        begun = self._begin(ids, speaker, (noise, length * _TRIAL_STRETCH, noise_w), run)
        (whole,) = self._sound(begun, run, lambda frames: iter([(0, frames)]))
        sliced = np.concatenate(list(islice(self._sound(begun, run, slices), 2)))
        peak = float(np.abs(whole).max(initial=0.0))
        if np.abs(sliced - whole[: len(sliced)]).max(initial=0.0) > _EQUAL * peak:
            raise UnequalError("its frames depend on others that are far away")

    def _begin(self, ids: Sequence[int], speaker: int, scales: Scales, run: onnxruntime.RunOptions) -> dict[str, Any]:
        """Runs the text side. Returns what flow and decoder are given of the sentence."""
        feeds = _feeds(ids, speaker, scales)
        names = [self._parts.prior, *self._parts.beside]
        made = self._text.run(names, _fitting(self._text, feeds), run)
        return {SPEAKER_INPUT: feeds[SPEAKER_INPUT], **dict(zip(names, made, strict=True))}

    def _sound(
        self,
        begun: dict[str, Any],
        run: onnxruntime.RunOptions,
        cut_up: Callable[[int], Iterator[tuple[int, int]]],
    ) -> Iterator[Samples]:
        parts, prior = self._parts, begun[self._parts.prior]
        frames: int = prior.shape[-1]
        latent = np.empty_like(prior)
        known = 0
        for start, stop in cut_up(frames):
            first, last = max(0, start - parts.decoder_margins.before), min(frames, stop + parts.decoder_margins.after)
            if known < last:
                latent[..., known:last] = self._flow_of(begun, known, last, run)
                known = last
            feeds = {**_of_frames(begun, frames, first, last), parts.latent: latent[..., first:last]}
            (sound,) = self._decoder.run([parts.output], _fitting(self._decoder, feeds), run)
            flat = np.asarray(sound, np.float32).reshape(-1)
            yield flat[(start - first) * parts.hop : (stop - first) * parts.hop]

    def _flow_of(self, begun: dict[str, Any], start: int, stop: int, run: onnxruntime.RunOptions) -> Any:
        """Returns frames of what the decoder takes."""
        frames: int = begun[self._parts.prior].shape[-1]
        margins = self._parts.flow_margins
        first, last = max(0, start - margins.before), min(frames, stop + margins.after)
        feeds = _fitting(self._flow, _of_frames(begun, frames, first, last))
        (made,) = self._flow.run([self._parts.latent], feeds, run)
        return made[..., start - first : stop - first]


def slices(frames: int) -> Iterator[tuple[int, int]]:
    """Yields the bounds of the slices of a sentence."""
    start, size = 0, FIRST_FRAMES
    while start < frames:
        # What would be left over for a short slice is taken along.
        stop = frames if frames - start < 1.5 * size else start + size
        yield start, stop
        start, size = stop, min(2 * size, MOST_FRAMES)


def _feeds(ids: Sequence[int], speaker: int, scales: Scales) -> dict[str, Any]:
    return {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids)], np.int64),
        "scales": np.array(scales, np.float32),
        SPEAKER_INPUT: np.array([speaker], np.int64),
    }


def _fitting(session: onnxruntime.InferenceSession, feeds: dict[str, Any]) -> dict[str, Any]:
    """Returns those that the session takes."""
    return {each.name: feeds[each.name] for each in session.get_inputs()}


def _of_frames(begun: dict[str, Any], frames: int, first: int, last: int) -> dict[str, Any]:
    """Cuts frames out of whatever has as many of them as the sentence."""
    return {
        name: value[..., first:last] if name != SPEAKER_INPUT and value.shape[-1] == frames else value
        for name, value in begun.items()
    }
