"""Piper (https://github.com/OHF-Voice/piper1-gpl): neural voices of some 40 languages, faster than speech on a CPU.

A voice is a pair of files (piper_files.py), loaded (piper_voice.py) into onnxruntime (piper_sound.py). A clause is made
sentence by sentence, and a sentence slice by slice; each is yielded as soon as it is made.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import onnxruntime
from msgspec import Meta

from pipeline.audio import StreamResampler
from pipeline.device import cores
from pipeline.errors import EngineError, StageError
from pipeline.registry import did_you_mean, listed
from pipeline.stages import EngineOptions, SynthesizerCapabilities
from pipeline.tts.piper_files import find_voice
from pipeline.tts.piper_voice import Voice
from pipeline.types import WIRE_RATE, Pcm16, Samples, SpeechRequest
from pipeline.workers import CancelToken

SLOWEST, FASTEST = 0.25, 3.0
"""Speeds, as parts of a voice's own. A phoneme id lasts a frame of 256 samples at least, so that beyond three times
their own speed voices hardly become faster."""

_MOST_THREADS: Final = 4
"""Threads of a voice where the options say nothing: its layers are too small to be shared among many."""

_QUIETEST: Final = 0.01
"""A voice whose peak is below is not made as loud as others: it is silent."""

_KNEE: Final = 0.8
"""Where the peak of a voice's sample is put, as a part of full scale. What is louder is bent to stay below that."""

_LISTED: Final = 8


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the name of a voice in a request leads to."""

    voice: Voice
    speaker: int


class Piper:
    """Speech with Piper: on 2 cores 0.02 s of computing for a second of speech with voices of medium quality, 0.15 s
    with high ones.
    """

    class Options(EngineOptions, frozen=True, kw_only=True):
        """The voices, and how they speak."""

        voice: Annotated[
            str,
            Meta(
                description="Who speaks: a name such as `en_US-lessac-medium`, which is downloaded, the path of an "
                ".onnx file with its .onnx.json beside it, or `hf:OWNER/REPOSITORY:FILE.onnx`."
            ),
        ] = "en_US-lessac-medium"
        voices: Annotated[
            tuple[str, ...],
            Meta(description="Further voices that clients may choose, written likewise; each takes memory."),
        ] = ()
        speaker: Annotated[
            str | int | None,
            Meta(
                description="Which speaker of a `voice` that has several, by name or number; clients may choose "
                "any as `VOICE/SPEAKER`. Default: the voice's own first."
            ),
        ] = None
        speed: Annotated[
            float, Meta(ge=SLOWEST, le=FASTEST, description="How fast it speaks at speed 1.0; 2 is twice as fast.")
        ] = 1.0
        sentence_pause: Annotated[
            float,
            Meta(
                ge=0,
                le=10,
                description="Seconds of silence after each sentence; none after a clause that ends in the middle of "
                "one.",
            ),
        ] = 0.2
        noise: Annotated[
            Annotated[float, Meta(ge=0, le=2)] | None,
            Meta(description="How much the sound varies; 0 always sounds the same. Default: the voice's own."),
        ] = None
        noise_w: Annotated[
            Annotated[float, Meta(ge=0, le=2)] | None,
            Meta(description="How much the lengths of the phonemes vary. Default: the voice's own."),
        ] = None
        volume: Annotated[
            float, Meta(ge=0, le=1, description="From 0, silent, to 1: as loud as the voice can be without distortion.")
        ] = 1.0
        threads: Annotated[
            Annotated[int, Meta(ge=1, le=256)] | None,
            Meta(description="CPU threads for each voice. Default: one per core, 4 at most."),
        ] = None

    devices = ("cpu", "cuda")

    def __init__(self, options: Options) -> None:
        """Finds, downloads and loads the voices, and tries each.

        Raises:
            EngineError: a voice or speaker that there is not, files that are missing or wrong, or `device: cuda`
                where CUDA does not work.
        """
        self._options = options
        named = [("voice", options.voice), *(("voices", voice) for voice in options.voices)]
        files = [(find_voice(voice, option), option) for option, voice in named]
        threads = options.threads or min(cores(), _MOST_THREADS)
        voices = [Voice(each, options.device, threads, option) for each, option in files]
        self.device = voices[0].device
        self._choices = _choices(voices, options.speaker)
        rates = {voice.rate for voice in voices}
        # Sound is resampled once: here if the voices differ, else by whoever wants another rate.
        self.rate = rates.pop() if len(rates) == 1 else WIRE_RATE
        # More than fit: slices of several clauses share the cores, and none waits for the end of a long one to begin.
        self.concurrency = max(2, 4 * cores() // threads)
        self.capabilities = SynthesizerCapabilities(
            voices=tuple(self._choices),
            languages=frozenset(voice.language for voice in voices),
            speeds=(SLOWEST / options.speed, FASTEST / options.speed),
        )

    def synthesize(self, request: SpeechRequest, cancel: CancelToken) -> Iterator[Pcm16]:
        """Says one clause, int16 at `rate`, piece by piece.

        A sentence that ends with a full stop or the like is followed by `sentence_pause`, also the last of the clause:
        the clauses of a reply are spoken one after the other. A speed outside `capabilities.speeds` is taken as the
        nearest in it. The text is plain: no markup means anything. Where it has neither a letter nor a digit, or none
        that the voice can say, nothing is yielded.

        Raises:
            StageError: there is no such voice, or onnxruntime fails.
        """
        choice = self._choice(request.voice)
        run = onnxruntime.RunOptions()
        # Ends the run that is under way, and those to come at once.
        cancel.on_cancel(lambda: setattr(run, "terminate", True))
        resampler = StreamResampler(choice.voice.rate, self.rate)
        for sound in self._sentences(choice, request, run, cancel):
            yield from _some(resampler.process(sound))
        if not cancel.cancelled:
            yield from _some(resampler.flush())

    def warm_up(self) -> None:
        """Says a word with each voice, which loads the language's dictionary (20 ms)."""
        for name in self._choices:
            if "/" not in name:
                for _ in self.synthesize(SpeechRequest("Hello.", name), CancelToken()):
                    pass

    def close(self) -> None:
        """Frees the voices."""
        self._choices.clear()

    def _choice(self, name: str | None) -> _Choice:
        choice = self._choices.get(self.capabilities.voices[0] if name is None else name)
        if choice is None:
            raise StageError("tts", f"Piper has no voice {name!r} loaded.")
        return choice

    def _sentences(
        self, choice: _Choice, request: SpeechRequest, run: onnxruntime.RunOptions, cancel: CancelToken
    ) -> Iterator[Pcm16]:
        """Yields the sound of a clause piece by piece, int16 at the voice's own rate, until `cancel`."""
        scales = self._scales(choice.voice, request.speed)
        pause = np.zeros(round(self._options.sentence_pause * choice.voice.rate), np.int16)
        gain = _KNEE / max(choice.voice.peak(choice.speaker), _QUIETEST)
        for sentence in choice.voice.sentences(request.text):
            try:
                for sound in choice.voice.speak(sentence.ids, choice.speaker, scales, run):
                    yield _pcm16(sound * np.float32(gain), self._options.volume)
                    if cancel.cancelled:
                        return
            except Exception as error:  # onnxruntime raises classes of its own, without a common base
                if cancel.cancelled:
                    return
                raise StageError("tts", f"Piper cannot say this: {error}") from error
            if sentence.ends:
                yield pause

    def _scales(self, voice: Voice, speed: float) -> tuple[float, float, float]:
        own = voice.description.inference
        options = self._options
        length = own.length_scale / max(SLOWEST, min(FASTEST, options.speed * speed))
        noise = own.noise_scale if options.noise is None else options.noise
        noise_w = own.noise_w if options.noise_w is None else options.noise_w
        return noise, length, noise_w


def _choices(voices: list[Voice], speaker: str | int | None) -> dict[str, _Choice]:
    """Returns every name that a request may use, the default first."""
    first = voices[0]
    choices: dict[str, _Choice] = {}
    for voice in voices:
        if voice.name in choices:
            raise EngineError(
                f"There are two voices called `{voice.name}`.", "Leave one out, or rename its files.", "voices"
            )
        own = voice.description.default_speaker_id
        number = own if voice is not first or speaker is None else _speaker(voice, str(speaker))
        choices[voice.name] = _Choice(voice, number)
        for index, name in enumerate(voice.speakers):
            choices[f"{voice.name}/{name}"] = _Choice(voice, index)
    return choices


def _speaker(voice: Voice, speaker: str) -> int:
    number = voice.speaker(speaker)
    if number is not None:
        return number
    if not voice.speakers:
        raise EngineError(f"The voice `{voice.name}` has only one speaker.", "Leave `speaker` out.", "speaker")
    more = f" and {len(voice.speakers) - _LISTED} more" if len(voice.speakers) > _LISTED else ""
    raise EngineError(
        f"The voice `{voice.name}` has no speaker `{speaker}`.",
        f"{did_you_mean(speaker, voice.speakers)}Choose one of: {listed(voice.speakers[:_LISTED])}{more}, or a number "
        f"from 0 to {len(voice.speakers) - 1}.",
        "speaker",
    )


def _pcm16(sound: Samples, volume: float) -> Pcm16:
    """Returns sound as int16; above `_KNEE` it is bent towards full scale."""
    loudness = np.abs(sound)
    if loudness.max(initial=0.0) > _KNEE:
        bent = _KNEE + (1 - _KNEE) * np.tanh((loudness - _KNEE) / (1 - _KNEE))
        sound = np.where(loudness > _KNEE, np.copysign(bent, sound), sound)
    scaled: Pcm16 = np.round(sound * np.float32(32767 * volume)).astype(np.int16)
    return scaled


def _some(samples: Pcm16) -> Iterator[Pcm16]:
    """Yields the samples, if there are any."""
    if len(samples):
        yield samples
