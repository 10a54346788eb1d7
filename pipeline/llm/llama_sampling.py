"""How tokens are drawn, freely or within a grammar."""

import codecs
import ctypes
import re
import weakref
from dataclasses import dataclass
from typing import Any

import llama_cpp as c
import numpy as np
from numpy.typing import NDArray

from pipeline.llm.llama_native import Context, NativeError, Vocabulary

_LIKELIEST = 256
"""Candidates that are tried when a grammar rejects the one drawn, before all are: to check a whole vocabulary of
152,000 takes about 15 ms, in which all other replies wait.
"""

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""`llama_token_data`."""

_DEAD_END = re.compile(rb"\xe0[\x80-\x9f]|\xed[\xa0-\xbf]|\xf0[\x80-\x8f]|\xf4[\x90-\xbf]")
"""Beginnings of what is no character (RFC 3629, section 4)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. At temperature 0 the likeliest is taken, and of the rest only penalties have an effect.

    `repeat_penalty` divides the logits of what is among the reply's last `repeat_last_n` tokens (below 0: multiplies
    them); `presence_penalty` is taken off them once, `frequency_penalty` once for each time.
    """

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    @property
    def penalizes(self) -> bool:
        wanted = self.repeat_penalty != 1 or self.presence_penalty or self.frequency_penalty
        return bool(wanted) and self.repeat_last_n > 0


class Grammar:
    """A compiled grammar, to be shared by replies. May be made and dropped on any thread."""

    def __init__(self, vocabulary: Vocabulary, text: str, trigger: str | None = None) -> None:
        """Compiles GBNF; its rule `root` is what a reply has to be. With a `trigger`, the reply is free until that has
        been written; what begins there has to match.

        Raises:
            NativeError: it is no grammar, or one that llama.cpp does not take.
        """
        self.is_lazy = trigger is not None
        source = text.encode("utf-8", "replace")
        if trigger is None:
            handle = c.llama_sampler_init_grammar(vocabulary.handle, source, b"root")
        else:
            handle = self._lazy(vocabulary, source, trigger)
        if not handle:
            raise NativeError("llama.cpp does not take the grammar")
        self._handle = handle
        weakref.finalize(self, c.llama_sampler_free, handle)

    @staticmethod
    def _lazy(vocabulary: Vocabulary, source: bytes, trigger: str) -> Any:
        token = vocabulary.single(trigger)
        escaped = "".join(f"\\{each}" if each in r"\^$.|?*+()[]{}" else each for each in trigger)
        patterns = (ctypes.c_char_p * 1)(f"({escaped})".encode())
        tokens = (c.llama_token * 1)(token if token is not None else 0)
        # Where the trigger is a token, its spelling by others is no trigger: then it is something that is quoted.
        counts = (1, 0) if token is None else (0, 1)
        return c.llama_sampler_init_grammar_lazy_patterns(
            vocabulary.handle, source, b"root", patterns, counts[0], tokens, counts[1]
        )

    def begin(self) -> Any:
        """Returns llama.cpp's sampler for one reply, to be freed by the caller."""
        return c.llama_sampler_clone(self._handle)


class Sampler:
    """Draws the tokens of one reply."""

    def __init__(self, sampling: Sampling, vocabulary: Vocabulary, grammar: Grammar | None = None) -> None:
        params = c.llama_sampler_chain_default_params()
        params.no_perf = True
        self._chain = c.llama_sampler_chain_init(params)
        self._is_greedy = sampling.temperature == 0 and not sampling.penalizes
        for link in _links(sampling, vocabulary):
            c.llama_sampler_chain_add(self._chain, link)
        self._bounds = _Bounds(vocabulary, grammar) if grammar else None

    def sample(self, context: Context, row: int) -> int | None:
        """Draws the token that follows a row of the last decode; None if the grammar lets none through."""
        if self._is_greedy:  # ten times as fast as llama.cpp, which makes candidates of a whole vocabulary
            token = int(context.logits(row).argmax())
        else:
            token = int(c.llama_sampler_sample(self._chain, context.handle, row))
        if self._bounds is None:
            return token
        if not self._bounds.allow(token):
            # For penalties it counts as a token of the reply all the same: there is no way to take it back.
            found = self._search(context.logits(row), self._bounds)
            if found is None:
                return None
            token = found
            c.llama_sampler_accept(self._chain, token)
        self._bounds.accept(token)
        return token

    def _search(self, logits: NDArray[np.float32], bounds: "_Bounds") -> int | None:
        """Draws among what the grammar lets through of the likeliest tokens, or if that is nothing, of all."""
        for count in (min(_LIKELIEST, len(logits)), len(logits)):
            left = bounds.filter(np.argpartition(logits, -count)[-count:].astype(np.int32))
            while len(left):
                token = self._draw(left, logits[left])
                if bounds.allow(token):
                    return token
                left = left[left != token]
        return None

    def _draw(self, tokens: NDArray[np.int32], logits: NDArray[np.float32]) -> int:
        candidates, array = _candidates(tokens, logits)
        c.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(candidates["id"][array.selected])

    def close(self) -> None:
        c.llama_sampler_free(self._chain)
        if self._bounds is not None:
            self._bounds.close()


class _Bounds:
    """Where in its grammar a reply is. Accepting what it rejects would abort the process: `allow` is asked before."""

    def __init__(self, vocabulary: Vocabulary, grammar: Grammar) -> None:
        self._vocabulary = vocabulary
        self._is_lazy = grammar.is_lazy
        self._handle = grammar.begin()
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")

    def filter(self, tokens: NDArray[np.int32]) -> NDArray[np.int32]:
        """Returns those tokens that the grammar lets through here."""
        candidates, array = _candidates(tokens, np.zeros(len(tokens), np.float32))
        c.llama_sampler_apply(self._handle, ctypes.byref(array))
        allowed: NDArray[np.int32] = tokens[np.isfinite(candidates["logit"])]
        return allowed

    def allow(self, token: int) -> bool:
        """Whether the reply may go on with `token`.

        Beyond what llama.cpp checks, the text has to stay UTF-8 (it lets halves of surrogate pairs through), and may
        hold no control token that is not shown.
        """
        if not len(self.filter(np.array([token], np.int32))):
            return False
        if self._vocabulary.is_end(token):
            return True
        piece = self._vocabulary.piece(token)
        if not piece and not self._is_lazy:
            return False
        state = self._decoder.getstate()
        try:
            self._decoder.decode(piece)
            # Python's decoder waits for a third byte before it refuses some that are wrong in the second.
            return not _DEAD_END.match(self._decoder.getstate()[0])
        except UnicodeDecodeError:
            return False
        finally:
            self._decoder.setstate(state)

    def accept(self, token: int) -> None:
        """Goes on with a token that is allowed."""
        if not self._vocabulary.is_end(token):
            self._decoder.decode(self._vocabulary.piece(token))
            c.llama_sampler_accept(self._handle, token)

    def close(self) -> None:
        c.llama_sampler_free(self._handle)


def _candidates(tokens: NDArray[np.int32], logits: NDArray[np.float32]) -> tuple[NDArray[np.void], Any]:
    """Returns candidates as NumPy sees them, and as llama.cpp does; the memory belongs to the former."""
    candidates = np.zeros(len(tokens), _CANDIDATE)
    candidates["id"], candidates["logit"] = tokens, logits
    data = candidates.ctypes.data_as(c.llama_token_data_p)
    return candidates, c.llama_token_data_array(data=data, size=len(tokens), selected=-1, sorted=False)


def _links(sampling: Sampling, vocabulary: Vocabulary) -> list[Any]:
    links = []
    if sampling.penalizes:
        links.append(
            c.llama_sampler_init_penalties(
                vocabulary.size,
                sampling.repeat_last_n,
                sampling.repeat_penalty,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
        )
    if sampling.temperature == 0:
        return [*links, c.llama_sampler_init_greedy()]
    return [
        *links,
        c.llama_sampler_init_top_k(sampling.top_k),
        c.llama_sampler_init_top_p(sampling.top_p, 1),
        c.llama_sampler_init_min_p(sampling.min_p, 1),
        c.llama_sampler_init_temp(sampling.temperature),
        c.llama_sampler_init_dist(sampling.seed),
    ]
