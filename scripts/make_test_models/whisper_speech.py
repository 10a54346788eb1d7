"""What the tiny Whisper learns: sentences spoken by espeak-ng, and windows of sound made of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import soxr

from pipeline.tts.espeak_ng import EspeakNg
from pipeline.types import LISTENING_RATE, Pcm16, Samples, SpeechRequest
from pipeline.workers import CancelToken

SENTENCES = (
    ("Who made you?", "Wer hat dich gemacht?"),
    ("What is your name?", "Wie heißt du?"),
    ("How are you today?", "Wie geht es dir heute?"),
    ("Turn on the kitchen lights.", "Mach das Licht in der Küche an."),
    ("Count to ten.", "Zähle bis zehn."),
    ("What is the capital of France?", "Was ist die Hauptstadt von Frankreich?"),
    ("Tell me a joke.", "Erzähl mir einen Witz."),
    ("What time is it?", "Wie spät ist es?"),
    ("Good morning.", "Guten Morgen."),
    ("Please play some music.", "Bitte spiel etwas Musik."),
    ("Thank you very much.", "Vielen Dank."),
    ("Stop talking.", "Hör auf zu reden."),
)
"""Each in English and in German."""

LANGUAGES = ("en", "de")

_VOICES = {"en": "en-us", "de": "de"}
_VARIANTS = ("+klatt4",) * 6 + ("", "+klatt", "+klatt2", "+klatt3", "+m1", "+m3", "+m7", "+f1", "+f2", "+f4")
_LEVEL = 0.3
"""Of espeak-ng's own loudness: as loud as the tests speak."""


def plain(text: str) -> str:
    """Returns a sentence as a transcript has it: no capitals, no full stop."""
    return text.rstrip(".?").lower()


@dataclass(frozen=True)
class Take:
    """One sentence said once. `ends` are the ends of its words, in seconds."""

    sentence: int
    language: str
    sound: Samples
    ends: tuple[float, ...]


class Studio:
    """Records every sentence in many voices, paces and pitches."""

    def __init__(self, source: random.Random) -> None:
        self._random = source
        self._speakers: dict[int, EspeakNg] = {}

    def record(self, count: int) -> list[Take]:
        """Returns `count` takes of each sentence in each language."""
        return [
            self._take(number, language)
            for number in range(len(SENTENCES))
            for language in LANGUAGES
            for _ in range(count)
        ]

    def _take(self, number: int, language: str) -> Take:
        variant = self._random.choice(_VARIANTS)
        # As the tests speak: most of the takes of one voice, at about 130 words a minute.
        usual = variant == "+klatt4" and self._random.random() < 0.6
        pitch = 50 if usual else self._random.randint(25, 75)
        pace = 130 if usual else self._random.randint(105, 185)
        words = plain(SENTENCES[number][LANGUAGES.index(language)]).split()

        def say(text: str) -> Samples:
            return self._say(text, _VOICES[language] + variant, pace, pitch)

        whole = say(" ".join(words))
        lengths = [len(say(" ".join(words[:count]))) for count in range(1, len(words))]
        seconds = len(whole) / LISTENING_RATE
        ends = [min(length / LISTENING_RATE, seconds) for length in lengths]
        return Take(number, language, whole, (*ends, seconds))

    def _say(self, text: str, voice: str, words_per_minute: int, pitch: int) -> Samples:
        speaker = self._speakers.setdefault(pitch, EspeakNg(EspeakNg.Options(pitch=pitch, words_per_minute=130)))
        request = SpeechRequest(text, voice, words_per_minute / 130)
        sound: Pcm16 = np.concatenate(list(speaker.synthesize(request, CancelToken())))
        return soxr.resample(sound.astype(np.float32) / 32768, speaker.rate, LISTENING_RATE)


@dataclass(frozen=True)
class Spoken:
    """A sentence in a window, or the beginning of one: `words` of its words are heard. Times are in seconds.

    `cut` says that the window ends in the middle of it.
    """

    take: Take
    start: float
    words: int
    cut: bool

    @property
    def end(self) -> float:
        return self.start + self.take.ends[self.words - 1]


@dataclass(frozen=True)
class Window:
    """A window of sound: `sound` is shorter than `seconds` where the rest is padding."""

    sound: Samples
    seconds: float
    spoken: list[Spoken] = field(default_factory=list)


class Windows:
    """Makes windows: nothing but noise, a sentence, or several with pauses; whole, or cut off somewhere."""

    def __init__(self, takes: list[Take], source: random.Random) -> None:
        self._random = source
        self._noise = np.random.default_rng(source.getrandbits(32))
        self._takes = {language: [take for take in takes if take.language == language] for language in LANGUAGES}

    def make(self, seconds: float) -> Window:
        """Returns a window of that many seconds."""
        kind = self._random.random()
        if kind < 0.15:
            length = self._random.uniform(0.3, seconds)
            return Window(self._room(round(length * LISTENING_RATE), loud=True), seconds)
        if kind < (0.5 if seconds <= 10 else 0.25):
            return self._say(seconds, 1)
        if kind < (0.65 if seconds <= 10 else 0.4):
            return self._say(seconds, 2)
        return self._say(seconds, 100, full=self._random.random() < 0.6)

    def _say(self, seconds: float, count: int, full: bool = False) -> Window:
        """Says up to `count` sentences; with `full` the window ends in the middle of one, or just after it."""
        language = self._random.choice((*LANGUAGES, "en"))
        at = self._random.choice((0.0, 0.3, self._random.uniform(0, 0.6), self._random.uniform(0, 3)))
        spoken: list[Spoken] = []
        while len(spoken) < count:
            take = self._random.choice(self._takes[language])
            if at + take.ends[-1] > seconds - 0.5:
                if full:
                    spoken += self._cut_by_window(take, at, seconds)
                break
            spoken.append(Spoken(take, at, len(take.ends), cut=False))
            at += take.ends[-1] + self._random.uniform(0.25, 1.6)
        if full:
            return Window(self._mix(spoken, seconds), seconds, spoken)
        if spoken and self._random.random() < 0.2:
            spoken[-1], length = self._cut_short(spoken[-1])
        else:
            length = (spoken[-1].end if spoken else at) + self._random.uniform(0.02, 1.0)
        return Window(self._mix(spoken, min(length, seconds)), seconds, spoken)

    def _cut_by_window(self, take: Take, at: float, seconds: float) -> list[Spoken]:
        heard = sum(at + end <= seconds for end in take.ends)
        begun = seconds - at > 0.25
        return [Spoken(take, at, max(heard, 1), cut=True)] if begun else []

    def _cut_short(self, last: Spoken) -> tuple[Spoken, float]:
        """Ends the sound after some words of the last sentence, as when somebody is still speaking."""
        words = self._random.randint(1, len(last.take.ends))
        cut = Spoken(last.take, last.start, words, cut=False)
        return cut, cut.end

    def _mix(self, spoken: list[Spoken], seconds: float) -> Samples:
        gain = _LEVEL * self._random.choice((1.0, self._random.uniform(0.15, 2.5)))
        length = round(seconds * LISTENING_RATE)
        sound = np.zeros(length, np.float32)
        for each in spoken:
            start = round(each.start * LISTENING_RATE)
            piece = each.take.sound[: max(0, length - start)]
            sound[start : start + len(piece)] += piece * gain * self._random.uniform(0.8, 1.2)
        sound += self._room(length, loud=False)
        return np.clip(sound, -1, 1)

    def _room(self, length: int, loud: bool) -> Samples:
        """Returns silence or noise: behind speech at most a hum, alone as loud as may be."""
        if self._random.random() < 0.15:
            return np.zeros(length, np.float32)
        usual = 30 / 32768
        level = usual if self._random.random() < 0.4 else 10 ** self._random.uniform(-4.5, -0.5 if loud else -2.3)
        return (self._coloured(length) * level).astype(np.float32)

    def _coloured(self, length: int) -> Samples:
        makers: tuple[Callable[[int], Samples], ...] = (self._white, self._white, self._normal, self._brown, self._hum)
        return self._random.choice(makers)(length)

    def _white(self, length: int) -> Samples:
        return self._noise.uniform(-1, 1, length)

    def _normal(self, length: int) -> Samples:
        return self._noise.normal(0, 0.5, length)

    def _brown(self, length: int) -> Samples:
        walk = np.cumsum(self._noise.normal(0, 1, length + 400))
        walk = walk[400:] - walk[:-400]
        return walk / max(1e-3, np.abs(walk).max())

    def _hum(self, length: int) -> Samples:
        times = np.arange(length) / LISTENING_RATE
        pitch = self._random.uniform(50, 1000)
        return np.sin(2 * np.pi * pitch * times) + 0.3 * np.sin(4 * np.pi * pitch * times)
