"""Turns windows of sound into what the network is trained on: spectrogram, tokens, and where it should look."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from faster_whisper.feature_extractor import FeatureExtractor
from torch import Tensor
from torch.utils.data import IterableDataset

from .whisper_speech import LANGUAGES, SENTENCES, Spoken, Take, Window, Windows, plain
from .whisper_tokens import Tokens

IGNORED = -100
_FRAME_S = 0.02
"""Seconds from one position of the encoder's output to the next."""
_SLACK_S = 0.08
_PROMPT_TOKENS = 223
ALL_LENGTHS = 0.4
"""The share of the training after which windows are as long as they may be."""

_BATCH_S = 160.0
"""Seconds of sound a step."""


@dataclass(frozen=True)
class Lesson:
    """What is fed to the decoder, and what should come out. `looks` has, for each position, the first and the last
    position of the sound that belongs to what should come out; (0, 0) where that does not matter.
    """

    tokens: list[int]
    targets: list[int]
    looks: list[tuple[int, int]]


@dataclass(frozen=True)
class Batch:
    """Lessons of the same length of sound: mel [batch, mels, frames], the others [batch, tokens].

    `first` is the position of the encoder's output at which the sound begins.
    """

    mel: Tensor
    tokens: Tensor
    targets: Tensor
    looks: Tensor
    first: int


class Teacher:
    """Writes the lesson of a window."""

    def __init__(self, tokens: Tokens, source: random.Random) -> None:
        self._tokens = tokens
        self._random = source

    def lesson(self, window: Window, longest_prompt: int, first: int) -> Lesson:
        """Returns what Whisper should make of the window. The style of a prompt, of so many sentences at most, is taken
        up; with another language than the one that is spoken the text is a translation. Times are told as if the window
        began at the position `first`.
        """
        name = self._tokens
        spoken = window.spoken
        prompt, proper = self._prompt(longest_prompt)
        heard = spoken[0].take.language if spoken else self._random.choice(LANGUAGES)
        whole = all(each.words == len(each.take.ends) and not each.cut for each in spoken)
        written = self._random.choice(LANGUAGES) if whole and self._random.random() < 0.15 else heard
        timed = self._random.random() < 0.6
        detected = name.languages[heard] if spoken else name.no_speech
        head = [*prompt, name.start, name.languages[written], name.transcribe]
        tail = self._transcript(spoken, written, proper, first if timed else None)
        if not timed:
            head.append(name.no_timestamps)
        tokens = head + [token for token, _ in tail]
        targets = [IGNORED] * len(tokens)
        looks = [(0, 0)] * len(tokens)
        targets[len(prompt)] = detected
        for place, (token, look) in enumerate([*tail, (name.end, (0, 0))], len(head) - 1):
            targets[place], looks[place] = token, look
        return Lesson(tokens, targets, looks)

    def _prompt(self, longest: int) -> tuple[list[int], bool]:
        """Returns the tokens of a prompt, or none, and whether it is written with capitals and full stops."""
        if self._random.random() < 0.65:
            return [], False
        proper = self._random.random() < 0.5
        language = self._random.randrange(len(LANGUAGES))
        count = self._random.randint(1, longest)
        texts = [sentence[language] for sentence in self._random.choices(SENTENCES, k=count)]
        joined = "".join(f" {text if proper else plain(text)}" for text in texts)
        return [self._tokens.previous, *self._tokens.encode(joined)[-_PROMPT_TOKENS:]], proper

    def _transcript(
        self, spoken: list[Spoken], language: str, proper: bool, first: int | None
    ) -> list[tuple[int, tuple[int, int]]]:
        timed, delay = first is not None, (first or 0) * _FRAME_S
        if timed and not spoken:
            return [(self._tokens.timestamp(0), (0, 0))]
        found: list[tuple[int, tuple[int, int]]] = []
        for number, each in enumerate(spoken):
            stamps = ((self._tokens.timestamp(time + delay), _look(time, time)) for time in (each.start, each.end))
            start, end = stamps
            words = self._words(each, language, proper)
            if timed and each.cut and number:
                found.append(start)  # the rest is for the next window, which begins here
            elif timed and each.cut:
                found += [start, *words]
            else:
                found += [start, *words, end] if timed else words
        return found

    def _words(self, spoken: Spoken, language: str, proper: bool) -> list[tuple[int, tuple[int, int]]]:
        take = spoken.take
        text = SENTENCES[take.sentence][LANGUAGES.index(language)]
        words = (text if proper else plain(text)).split()
        if language != take.language:
            return [(token, (0, 0)) for word in words for token in self._tokens.encode(f" {word}")]
        starts = (0.0, *take.ends)
        return [
            (token, _look(spoken.start + starts[number], spoken.start + take.ends[number]))
            for number, word in enumerate(words[: spoken.words])
            for token in self._tokens.encode(f" {word}")
        ]


def _look(start: float, end: float) -> tuple[int, int]:
    return max(0, round((start - _SLACK_S) / _FRAME_S)), round((end + _SLACK_S) / _FRAME_S)


class Lessons(IterableDataset[Batch]):
    """So many batches, always the same ones for a seed: at first of short windows, later of all lengths. `begun` is the
    share of the training that is over already.
    """

    def __init__(self, takes: list[Take], tokens: Tokens, seed: int, count: int, begun: float) -> None:
        self._takes, self._tokens, self._seed, self._count, self._begun = takes, tokens, seed, count, begun

    def __iter__(self) -> Iterator[Batch]:
        source = random.Random(self._seed)
        windows, teacher = Windows(self._takes, source), Teacher(self._tokens, source)
        extractor = FeatureExtractor()
        for number in range(self._count):
            seconds = _length(self._begun + (1 - self._begun) * number / self._count, source)
            longest_prompt = source.choice((3, 3, 40))
            # A short window in a late place teaches what a long one does, at a part of the cost.
            first = source.choice((0, source.randint(0, round((30 - seconds) / _FRAME_S))))
            made = [windows.make(seconds) for _ in range(int(_BATCH_S / seconds))]
            mels = [_spectrogram(window, extractor, source.random() < 0.3) for window in made]
            yield _batch(mels, [teacher.lesson(window, longest_prompt, first) for window in made], first)


def _length(progress: float, source: random.Random) -> float:
    """Returns how long the windows of a batch are, in seconds, when so much of the training is over."""
    if progress < 0.2:
        return 5.0
    if progress < ALL_LENGTHS:
        return source.choice((5.0, 10.0, 10.0))
    return source.choice((10.0, 10.0, 30.0, 30.0, round(source.uniform(10, 30), 1)))


def _spectrogram(window: Window, extractor: FeatureExtractor, zeros: bool) -> np.ndarray:
    """Returns the window's features. The padding is that of silence or, with `zeros`, faster-whisper's own."""
    mel = extractor(window.sound, padding=0)
    missing = round(window.seconds * 100) - mel.shape[1]
    filling = 0.0 if zeros else mel.min()
    return np.pad(mel, ((0, 0), (0, missing)), constant_values=filling)


def _batch(mels: list[np.ndarray], lessons: list[Lesson], first: int) -> Batch:
    length = max(len(lesson.tokens) for lesson in lessons)
    shape = (len(lessons), length)
    tokens, targets = torch.zeros(shape, dtype=torch.long), torch.full(shape, IGNORED)
    looks = torch.zeros((*shape, 2), dtype=torch.long)
    for row, lesson in enumerate(lessons):
        count = len(lesson.tokens)
        tokens[row, :count] = torch.tensor(lesson.tokens)
        targets[row, :count] = torch.tensor(lesson.targets)
        looks[row, :count] = torch.tensor(lesson.looks)
    return Batch(torch.from_numpy(np.stack(mels)).float(), tokens, targets, looks, first)
