"""One Piper voice: its description, the phonemes that it is given, and how loud it is. Its weights: piper_sound.py.

The weights take phoneme ids and three numbers and return a sentence's sound:

    input          int64 [1, n]     phoneme ids
    input_lengths  int64 [1]        n
    scales         float32 [3]      variation of the sound, length of the phonemes, variation of their lengths
    sid            int64 [1]        the speaker; only where there are several
    → output       float32 [1, 1, samples] or [1, 1, 1, samples]

Text becomes phonemes as in the `piper-tts` package, which carries espeak-ng for it (a copy of its own, apart from the
one of the engine `espeak-ng`).
"""

import re
import threading
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import numpy as np
import onnxruntime
from msgspec import Meta
from piper import PiperConfig, PiperVoice

from pipeline.errors import EngineError
from pipeline.stages import Device
from pipeline.tts.piper_cut import SPEAKER_INPUT
from pipeline.tts.piper_files import VoiceFiles
from pipeline.tts.piper_sound import Scales, SlicedSound, Sound, open_sound
from pipeline.types import Samples

_INPUTS: Final = frozenset({"input", "input_lengths", "scales"})

_PIECE: Final = 500
"""Characters of text that become phonemes at a time, so that neither the phonemiser, which holds the GIL, nor a
sentence that never ends keeps anybody waiting: some 40 s of speech."""

_SENTENCE_END: Final = tuple(".!?…。！？؟।")
_SENTENCE: Final = re.compile(r"[.!?…؟।](?=\s)|[。！？]|\n(?=\s*\n)")
_MARKS: Final = "_^$"
"""Padding, beginning and end of a sentence, in a voice's map of phonemes."""

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that are no text: all of the Unicode categories Cc and Cs but tabs and line ends."""

_MARKUP: Final = "[["
"""To Piper, phonemes stand between `[[` and `]]`; to Parley, text is text."""

_OTHER_PACKAGES: Final[Mapping[str, str]] = {"japanese": "pyopenjtalk", "thai": "tltk"}
"""Kinds of phonemes for which piper-tts needs a package that it does not bring."""

_TRIAL_IDS: Final = 16
"""Phoneme ids that are spoken to try a voice: a second of speech."""

_SAMPLE: Final = "1, 2, 3, 4, 5, 6."
"""What tells how loud a voice is: words in any language."""

_AGAIN: Final = "Download the voice again, both the .onnx and its .onnx.json, or name another."

# espeak-ng has one state for the whole process.
_phonemising = threading.Lock()


class _Audio(msgspec.Struct):
    sample_rate: Annotated[int, Meta(ge=8_000, le=48_000)]


class _Espeak(msgspec.Struct):
    voice: str


class _Language(msgspec.Struct):
    code: str


class _Inference(msgspec.Struct):
    """Piper's defaults are those of its config.py."""

    noise_scale: Annotated[float, Meta(ge=0)] = 0.667
    length_scale: Annotated[float, Meta(gt=0)] = 1.0
    noise_w: Annotated[float, Meta(ge=0)] = 0.8


class Description(msgspec.Struct):
    """What is read of a voice's .onnx.json."""

    num_symbols: Annotated[int, Meta(ge=1)]
    num_speakers: Annotated[int, Meta(ge=1)]
    audio: _Audio
    espeak: _Espeak
    phoneme_id_map: dict[str, list[Annotated[int, Meta(ge=0)]]]
    phoneme_type: str = "espeak"
    inference: _Inference = msgspec.field(default_factory=_Inference)
    language: _Language | None = None
    speaker_id_map: dict[str, int] = {}
    default_speaker_id: int = 0


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence in phoneme ids, and whether it ends as sentences do: a clause may end in the middle of one."""

    ids: Sequence[int]
    ends: bool


class Voice:
    """A voice, loaded. Several threads may speak with it at the same time."""

    def __init__(self, files: VoiceFiles, device: Device, threads: int, option: str) -> None:
        """Loads a voice and tries it with one short run.

        Args:
            files: its files.
            device: where to compute.
            threads: that onnxruntime may use for it.
            option: the option of models.yaml that names the voice, for errors.

        Raises:
            EngineError: the files are no Piper voice, do not belong together, or are damaged; its phonemes need what
                is not installed; or `device` is `cuda`, and that does not work.
        """
        self.name = files.name
        self._option = option
        self._model = files.model
        self.description, config = _describe(files, option)
        self.rate = self.description.audio.sample_rate
        code = self.description.language.code if self.description.language else self.description.espeak.voice
        self.language = code.replace("_", "-")
        self.speakers = _speakers(self.description)
        self._sound = open_sound(files.model, device, threads, trial=self._try_sound, mend=_AGAIN, option=option)
        self.device = self._sound.device
        self._piper = PiperVoice(session=None, config=config)
        self._peaks: dict[int, float] = {}
        self._try_phonemes()

    def speaker(self, speaker: str) -> int | None:
        """Returns the number of a speaker, given by name or number; None: there is no such speaker."""
        if speaker in self.speakers:
            return self.speakers.index(speaker)
        return int(speaker) if speaker.isdecimal() and int(speaker) < len(self.speakers) else None

    def sentences(self, text: str) -> Iterator[Sentence]:
        """Yields what a text of any length is in phoneme ids; nothing if there is nothing to say in it."""
        for piece in _pieces(_plain(text)):
            if not any(character.isalnum() for character in piece):
                continue
            for phonemes in self._phonemise(piece):
                known = [each for each in phonemes if each in self.description.phoneme_id_map and each not in _MARKS]
                if any(_is_spoken(phoneme) for phoneme in known):
                    ends = "".join(phonemes).rstrip().endswith(_SENTENCE_END)
                    yield Sentence(self._piper.phonemes_to_ids(known), ends)

    def speak(self, ids: Sequence[int], speaker: int, scales: Scales, run: onnxruntime.RunOptions) -> Iterator[Samples]:
        """Yields a sentence's sound (see `Sound.speak`), at `rate`, and as loud as the weights make it."""
        return self._sound.speak(ids, speaker, scales, run)

    def peak(self, speaker: int) -> float:
        """Returns how loud a speaker's weights speak: the peak of `_SAMPLE` said without variation.

        A sentence's own peak is known only when all of it has been made, which is too late for slices of it.
        """
        if speaker not in self._peaks:
            scales = (0.0, self.description.inference.length_scale, 0.0)
            pieces = (
                piece
                for sentence in self.sentences(_SAMPLE)
                for piece in self.speak(sentence.ids, speaker, scales, onnxruntime.RunOptions())
            )
            self._peaks[speaker] = max((float(np.abs(piece).max(initial=0.0)) for piece in pieces), default=1.0)
        return self._peaks[speaker]

    def _try_sound(self, sound: Sound) -> None:
        """Speaks the phonemes of the highest ids as the last speaker: those that other weights would not know."""
        inputs = sound.inputs
        if inputs not in (_INPUTS, _INPUTS | {SPEAKER_INPUT}):
            raise self._unusable(f"is not a Piper voice: it takes {', '.join(sorted(inputs))}")
        count = self.description.num_speakers
        if count > 1 and SPEAKER_INPUT not in inputs:
            raise self._unusable(f"has one speaker, but {count} by its description")
        known = sorted({number for ids in self.description.phoneme_id_map.values() for number in ids})
        inference = self.description.inference
        trial = known[-_TRIAL_IDS:], count - 1, (inference.noise_scale, inference.length_scale, inference.noise_w)
        pieces = list(sound.speak(*trial, onnxruntime.RunOptions()))
        if not sum(map(len, pieces)) or not all(np.isfinite(piece).all() for piece in pieces):
            raise self._unusable("makes no sound")
        if isinstance(sound, SlicedSound):
            sound.check(*trial)

    def _try_phonemes(self) -> None:
        kind = self.description.phoneme_type
        if kind == "pinyin":  # it would download a dictionary, from wherever and unasked
            raise EngineError(
                f"{self._model} speaks pinyin phonemes, for which Piper lacks a dictionary here.",
                "Choose a voice with espeak phonemes; for Chinese that is zh_CN-huayan-medium.",
                self._option,
            )
        try:
            self._phonemise("1")
        except ImportError as error:
            package = _OTHER_PACKAGES.get(kind, error.name or "another package")
            raise EngineError(
                f"{self._model} speaks {kind} phonemes, for which the package {package} is missing: {error}.",
                f"Install {package} into Parley's environment, or choose a voice with espeak phonemes.",
                self._option,
            ) from error
        except Exception as error:
            raise EngineError(
                f"{self._model} speaks {kind} phonemes of `{self.description.espeak.voice}`, and the installed "
                f"piper-tts cannot make them: {_first_line(error)}.",
                "Correct `phoneme_type` and `espeak.voice` in its .onnx.json, or choose another voice.",
                self._option,
            ) from error

    def _phonemise(self, text: str) -> list[list[str]]:
        with _phonemising:
            return self._piper.phonemize(text)

    def _unusable(self, problem: str) -> EngineError:
        return EngineError(f"{self._model} {problem}.", _AGAIN, self._option)


def _describe(files: VoiceFiles, option: str) -> tuple[Description, PiperConfig]:
    try:
        content = files.description.read_bytes()
        description = msgspec.json.decode(content, type=Description)
        config = PiperConfig.from_dict(msgspec.json.decode(content))
        _check_description(description)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"{files.description} does not describe a Piper voice: {_first_line(error)}.",
            f"Download it again; it belongs to {files.model.name}.",
            option,
        ) from error
    return description, config


def _speakers(description: Description) -> tuple[str, ...]:
    """Returns the names of the speakers, or their numbers where they have none; nothing for a voice with one."""
    if description.num_speakers == 1:
        return ()
    names = {number: name for name, number in description.speaker_id_map.items()}
    return tuple(names.get(number, str(number)) for number in range(description.num_speakers))


def _check_description(description: Description) -> None:
    """Raises ValueError if it contradicts itself."""
    numbers = description.phoneme_id_map
    marks = [mark for mark in _MARKS if mark not in numbers]
    if marks:
        raise ValueError(f"`phoneme_id_map` has no `{marks[0]}`")
    if max(number for ids in numbers.values() for number in ids) >= description.num_symbols:
        raise ValueError(f"`phoneme_id_map` has ids above `num_symbols`, which is {description.num_symbols}")
    count = description.num_speakers
    if any(
        not 0 <= number < count for number in (*description.speaker_id_map.values(), description.default_speaker_id)
    ):
        raise ValueError(f"it has speakers above `num_speakers`, which is {count}")


def _plain(text: str) -> str:
    """Takes out what would end the text early, or not be taken for text."""
    kept = _CONTROLS.sub(" ", text)
    while _MARKUP in kept:
        kept = kept.replace(_MARKUP, "[ [")
    return kept


def _pieces(text: str) -> Iterator[str]:
    """Cuts a long text, after the last sentence that fits if there is one, else between words if there are any."""
    start = 0
    while len(text) - start > _PIECE:
        window = text[start : start + _PIECE]
        sentences = [found.end() for found in _SENTENCE.finditer(window)]
        cut = sentences[-1] if sentences else max(window.rfind(" "), window.rfind("\n"))
        start += cut if cut > 0 else _PIECE
        yield window[: cut if cut > 0 else _PIECE]
    yield text[start:]


def _is_spoken(phoneme: str) -> bool:
    """Whether a phoneme is a sound of its own, and not a stress mark, a length mark or punctuation."""
    return any(unicodedata.category(each)[0] in "LN" and unicodedata.category(each) != "Lm" for each in phoneme)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
