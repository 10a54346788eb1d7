"""Reads one window of sound with Whisper: what is said in it, when, and how sure the model is.

It drives CTranslate2's encoder and decoder itself rather than through faster-whisper's `transcribe`, which pads every
window to 30 s, encodes it once more to find out the language, and decodes to the end before anybody can stop it.
"""

import functools
import itertools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.types import LISTENING_RATE, Samples, Segment, TokenLogProbability, Word

LONGEST_S = 30
"""Seconds of sound that Whisper's encoder can be given."""

_AFTER_S = 0.5
"""Seconds of silence that are put behind an utterance: a window that ends with a word looks as if it went on."""

_FRAMES_PER_S = 100
_TIMESTAMP_S = 0.02
_POSITION_S = 0.02
"""From one position of the encoder's output to the next: two frames."""

_PROMPT_TOKENS = 223
"""Of what came before, at most: half of the decoder's 448 positions, less one (whisper/decoding.py of OpenAI)."""

_LATEST_BEGIN_S = 1.0
_SAMPLES_OF_FALLBACK = 5
"""`max_initial_timestamp` and `best_of` of OpenAI's whisper/transcribe.py."""

_TOKENS_AT_LEAST, _TOKENS_PER_S = 16, 20
"""Nobody speaks faster. A decoder that repeats itself is stopped there, and not after 448 tokens."""

_PROGRESS_S = 1.0
"""What a window must have covered before the rest of it is put off to the next."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How windows are read; the names are those of faster-whisper."""

    window_s: float
    beam_size: int
    temperatures: tuple[float, ...]
    no_speech_threshold: float | None
    log_prob_threshold: float | None
    compression_ratio_threshold: float | None


@dataclass(frozen=True, slots=True)
class Passage:
    """A segment as it was decoded: its text begins with a space where the language has them."""

    segment: Segment
    text: str
    tokens: tuple[int, ...]
    token_log_probabilities: tuple[TokenLogProbability, ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """What a window holds. `rest_s` is from where it has to be read again, in seconds; None: it is done with.

    `language` is Whisper's code of it; `temperature` is what the decoder needed to come to a good end.
    """

    passages: tuple[Passage, ...]
    language: str
    temperature: float = 0.0
    rest_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What came out of the decoder: text and timestamps. The logarithms are natural ones."""

    tokens: list[int]
    log_probabilities: NDArray[np.float64] | None
    """Of each token; known if it was not a beam that found them."""
    mean: float
    no_speech: float
    temperature: float
    compression: float


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text between two timestamps: `places` are those of its tokens in what was decoded; `end` may be missing."""

    start: float
    end: float | None
    tokens: tuple[int, ...]
    places: tuple[int, ...]


class WindowReader:
    """Reads windows with one model. Any number of threads may use it."""

    def __init__(self, model: Any, reading: Reading) -> None:
        """`model` is a faster_whisper.WhisperModel."""
        from faster_whisper.feature_extractor import FeatureExtractor

        self._model = model
        self._reading = reading
        self._extractor = FeatureExtractor(feature_size=model.model.n_mels)
        self._tokenizers: dict[str, Any] = {}
        self.multilingual: bool = model.model.is_multilingual
        self.languages = self._known_languages()

    def encode_text(self, text: str) -> list[int]:
        """Returns the tokens of a prompt."""
        return list(self._model.hf_tokenizer.encode(f" {text.strip()}", add_special_tokens=False).ids)

    def read(
        self,
        sound: Samples,
        language: str | None,
        context: Sequence[int],
        *,
        word_times: bool,
        last: bool,
        check: Callable[[], None],
    ) -> Read:
        """Reads what is said.

        Args:
            sound: float32 `[n]` at 16 kHz, `LONGEST_S` at most.
            language: Whisper's code of what is spoken; None: recognise it.
            context: tokens of the prompt and of what was said before.
            word_times: whether to find out when each word was said: costs a quarter of the decoding again.
            last: whether the utterance ends with the window, so that an unfinished segment counts.
            check: called before each job that is given to CTranslate2, none of which can be interrupted: raises if
                it is not wanted any more.
        """
        seconds = len(sound) / LISTENING_RATE
        features = self.features(sound)
        check()
        encoded = self._model.encode(features)
        if language is None:
            check()
            language = self._recognise(encoded)
        tokenizer = self._tokenizer(language)
        prompt = list(tokenizer.sot_sequence)
        if context:
            prompt = [tokenizer.sot_prev, *context[-_PROMPT_TOKENS:], *prompt]
        most = len(prompt) + _TOKENS_AT_LEAST + round(seconds * _TOKENS_PER_S)
        decoded = self._decode(encoded, tokenizer, prompt, min(most, self._model.max_length), check)
        if self._silent(decoded):
            return Read((), language)
        pieces, rest_s = split(decoded.tokens, tokenizer.timestamp_begin, tokenizer.eot, seconds, last)
        words: list[tuple[Word, ...]] = [() for _ in pieces]
        if word_times and pieces:
            check()
            words = self._words(encoded, tokenizer, pieces, seconds)
        passages = tuple(
            self._passage(tokenizer, piece, decoded, spoken, seconds)
            for piece, spoken in zip(pieces, words, strict=True)
        )
        return Read(tuple(each for each in passages if each.segment.text), language, decoded.temperature, rest_s)

    def features(self, sound: Samples) -> NDArray[np.float32]:
        """Returns the spectrogram of a window, float32 `[mels, frames]`: of the sound, and of silence behind it."""
        mel: NDArray[np.float32] = self._extractor(sound, padding=0)
        seconds = max(self._reading.window_s, len(sound) / LISTENING_RATE + _AFTER_S)
        frames = 2 * round(min(LONGEST_S, seconds) * _FRAMES_PER_S / 2)  # the encoder takes them in pairs
        mel = mel[:, :frames]
        # The spectrogram is cut off 8 decades below its peak: that is what digital silence comes to.
        quiet = (max(-10.0, float(mel.max()) * 4 - 4 - 8) + 4) / 4
        return np.pad(mel, ((0, 0), (0, frames - mel.shape[1])), constant_values=np.float32(quiet))

    def _known_languages(self) -> tuple[str, ...]:
        if not self.multilingual:
            return ("en",)
        codes = self._model.supported_languages
        return tuple(code for code in codes if self._model.hf_tokenizer.token_to_id(f"<|{code}|>") is not None)

    def _recognise(self, encoded: Any) -> str:
        if not self.multilingual:
            return "en"
        token, _ = self._model.model.detect_language(encoded)[0][0]
        return str(token)[2:-2]

    def close(self) -> None:
        """Lets go of the model: its threads end with the last reference to it."""
        self._model = None

    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        if language not in self._tokenizers:
            tokens = self._model.hf_tokenizer
            self._tokenizers[language] = Tokenizer(tokens, self.multilingual, task="transcribe", language=language)
        return self._tokenizers[language]

    @functools.cached_property
    def _suppressed(self) -> list[int]:
        from faster_whisper.transcribe import get_suppressed_tokens

        tokens = get_suppressed_tokens(self._tokenizer("en" if "en" in self.languages else self.languages[0]), [-1])
        return [token for token in tokens if token is not None]

    # --- decoding ---------------------------------------------------------------------------------------------

    def _decode(
        self, encoded: Any, tokenizer: Any, prompt: list[int], most: int, check: Callable[[], None]
    ) -> _Decoded:
        """Decodes at one temperature after the other, until what comes out is good enough, or else the likeliest.

        `most` is the number of tokens with which it ends, those of the prompt included.
        """
        tried = []
        for temperature in self._reading.temperatures:
            check()
            decoded = self._generate(encoded, tokenizer, prompt, most, temperature)
            if not self._poor(decoded) or self._silent(decoded):
                return decoded
            tried.append(decoded)
        readable = [each for each in tried if not self._repetitive(each)]
        return max(readable or tried, key=lambda each: each.mean)

    def _generate(self, encoded: Any, tokenizer: Any, prompt: list[int], most: int, temperature: float) -> _Decoded:
        single = self._reading.beam_size == 1
        (result,) = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=1 if temperature else self._reading.beam_size,
            num_hypotheses=_SAMPLES_OF_FALLBACK if temperature else 1,
            sampling_topk=0 if temperature else 1,
            sampling_temperature=temperature or 1.0,
            max_length=most,
            max_initial_timestamp_index=round(_LATEST_BEGIN_S / _TIMESTAMP_S),
            suppress_tokens=self._suppressed,
            return_scores=True,
            return_no_speech_prob=True,
            return_logits_vocab=single,  # with a beam they are not those of its tokens
        )
        tokens = list(result.sequences_ids[0])
        text = tokenizer.decode(tokens).strip().encode()
        return _Decoded(
            tokens,
            _log_probabilities(result.logits[0], tokens) if single else None,
            # The score is a sum that counts the end of the text, divided by a number of tokens that does not.
            mean=result.scores[0] * len(tokens) / (len(tokens) + 1) if tokens else 0.0,
            no_speech=result.no_speech_prob,
            temperature=temperature,
            compression=len(text) / len(zlib.compress(text)) if text else 0.0,
        )

    def _repetitive(self, decoded: _Decoded) -> bool:
        most = self._reading.compression_ratio_threshold
        return most is not None and decoded.compression > most

    def _unsure(self, decoded: _Decoded) -> bool:
        least = self._reading.log_prob_threshold
        return least is not None and decoded.mean < least

    def _poor(self, decoded: _Decoded) -> bool:
        return self._repetitive(decoded) or self._unsure(decoded)

    def _silent(self, decoded: _Decoded) -> bool:
        """Whether the text is made up: the model takes the window for silence, and is not sure of its words."""
        most = self._reading.no_speech_threshold
        sure = self._reading.log_prob_threshold is not None and not self._unsure(decoded)
        return most is not None and decoded.no_speech > most and not sure

    def _passage(
        self, tokenizer: Any, piece: _Piece, decoded: _Decoded, words: tuple[Word, ...], seconds: float
    ) -> Passage:
        text = tokenizer.decode(list(piece.tokens))
        mean, each = decoded.mean, tuple[TokenLogProbability, ...]()
        if decoded.log_probabilities is not None:
            known = decoded.log_probabilities[list(piece.places)]
            mean, each = float(known.mean()), _by_token(tokenizer, piece.tokens, known)
        end = seconds if piece.end is None else piece.end
        return Passage(Segment(text.strip(), piece.start, end, mean, words), text, piece.tokens, each)

    # --- words ------------------------------------------------------------------------------------------------

    def _words(self, encoded: Any, tokenizer: Any, pieces: Sequence[_Piece], seconds: float) -> list[tuple[Word, ...]]:
        """Returns the words of each piece, with the times at which the decoder's attention was on them."""
        tokens = [token for piece in pieces for token in piece.tokens]
        frames = min(round(seconds * _FRAMES_PER_S), LONGEST_S * _FRAMES_PER_S)
        (result,) = self._model.model.align(encoded, tokenizer.sot_sequence, [tokens], frames)
        begins = _begins(result.alignments, len(tokens))
        logs = np.log(np.maximum(np.array(result.text_token_probs), 1e-10))
        found, at = [], 0
        for piece in pieces:
            texts, groups = tokenizer.split_to_word_tokens([*piece.tokens])
            ends = list(itertools.accumulate((len(group) for group in groups), initial=at))
            words = [
                Word(text, begins[first], begins[after], float(logs[first:after].sum()))
                for text, first, after in zip(texts, ends, ends[1:], strict=False)
            ]
            found.append(_tidy(words, piece.start, seconds if piece.end is None else piece.end))
            at = ends[-1]
        return found


def split(
    tokens: Sequence[int], timestamp_begin: int, end_of_text: int, seconds: float, last: bool
) -> tuple[list[_Piece], float | None]:
    """Takes apart what was decoded, by its timestamps. Returns the pieces, and from where to read again.

    A piece that has no end, and a beginning without a piece, are the model's sign that its window ends too early.
    """
    pieces: list[_Piece] = []
    start, stamped = 0.0, False
    text: list[int] = []
    """Places of the tokens since the last timestamp."""

    def close(end: float | None) -> None:
        pieces.append(_Piece(start, end, tuple(tokens[place] for place in text), tuple(text)))
        text.clear()

    for place, token in enumerate(tokens):
        if token < end_of_text:
            text.append(place)
        elif token >= timestamp_begin:
            time = min((token - timestamp_begin) * _TIMESTAMP_S, seconds)
            stamped = not text and bool(pieces)
            if text:
                close(max(start, time))
            start = max(start, time)
    far = start >= _PROGRESS_S
    if text and (last or not pieces or not far):
        close(None)
    elif text or (stamped and seconds - start > _PROGRESS_S):
        return pieces, start if far else None
    return pieces, None


def _log_probabilities(logits: Sequence[Any], tokens: Sequence[int]) -> NDArray[np.float64]:
    """Returns the logarithm of each token's probability; `logits` has a row for each, and one for the end."""
    found = np.empty(len(tokens))
    for place, token in enumerate(tokens):
        row = np.array(logits[place])
        top = row.max()
        found[place] = row[token] - top - np.log(np.exp(row - top).sum())
    return found


def _by_token(tokenizer: Any, tokens: Sequence[int], logs: NDArray[np.float64]) -> tuple[TokenLogProbability, ...]:
    """Pairs tokens with their probabilities; those that are parts of one character are taken together."""
    texts, groups = tokenizer.split_tokens_on_unicode(list(tokens))
    ends = list(itertools.accumulate((len(group) for group in groups), initial=0))
    return tuple(
        TokenLogProbability(text, float(logs[first:after].sum()))
        for text, first, after in zip(texts, ends, ends[1:], strict=False)
    )


def _begins(alignments: Sequence[tuple[int, int]], count: int) -> list[float]:
    """Returns when each token begins, in seconds, and when the last one ends. `alignments` are pairs of a token and a
    position of the encoder's output, in order."""
    begins: dict[int, float] = {}
    for token, position in alignments:
        begins.setdefault(token, position * _POSITION_S)
    latest = alignments[-1][1] * _POSITION_S if alignments else 0.0
    found = [begins.get(token, latest) for token in range(count + 1)]
    return list(itertools.accumulate(found, max))


def _tidy(words: list[Word], start: float, end: float) -> tuple[Word, ...]:
    """Joins punctuation with its word, and keeps the times within the segment's."""
    found: list[Word] = []
    for word in words:
        begin = min(max(word.start, start), end)
        until = min(max(word.end, begin), end)
        if found and not any(character.isalnum() for character in word.text):
            last = found[-1]
            found[-1] = Word(last.text + word.text.strip(), last.start, last.end, last.log_probability)
        else:
            found.append(Word(word.text.strip(), begin, until, word.log_probability))
    return tuple(found)
