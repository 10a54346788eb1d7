"""Text deltas → clauses that can be spoken while the rest of the reply is still being made.

What comes first is short, because the user waits for it; the later clauses are sentences, because sentences sound
better in one go; a long sentence is cut at a comma, so that no clause takes long to make. "Sure!" is said before a slow
model has made a sentence, so short clauses go on until enough has been said to bridge the making of the next.

The text is looked at character by character and nothing depends on how it was cut into deltas: the same reply
gives the same clauses.
"""

import re
import unicodedata
from typing import Final, Literal

from pipeline.types import Clause

MAX_CHARS: Final = 200
"""Most characters in one clause's text: some 15 s of speech. A digit or an ideograph takes three times as long to
say as a letter and counts as three.
"""

LONG_CHARS: Final = 80
"""From here on (about 6 s of speech) a sentence is cut at the next comma."""

ENOUGH_WORDS: Final = 6
"""Words, some 2 s of speech, that have been said when clauses become sentences."""

FIRST_WORDS: Final = 9
"""Until then, a clause without punctuation is cut after so many words."""

FIRST_WORDS_OF_PHRASE: Final = 5
"""Words that such a clause has at least when it ends before a word that begins a phrase, where a speaker may pause."""

FIRST_WORDS_AT_COMMA: Final = 2
"""Words that a first clause has at least when it ends at a comma: one alone sounds clipped."""

_SENTENCE_END: Final = ".!?؟۔।。！？｡"
_PAUSE: Final = ",;:…—،؛、，；："
_NO_SPACE_NEEDED: Final = "。！？｡、，；：…—"
"""After these a clause is over even if the next word follows at once."""
_CLOSERS: Final = "\"'”’»)]}）」』】》*_`"
_OPENERS: Final = "\"'“‘«([{（「『【《*_`"
_BRACKETS: Final = {"(": 1, "[": 1, "（": 1, ")": -1, "]": -1, "）": -1}

_TITLES_AND_SHORT_FORMS: Final = """
    al approx apt aug ave bldg blvd bzw ca capt cf co col dec dept dr ed eds est etc feb fig ft gen gov hon hr inc jan
    jr lt ltd messrs mr mrs ms mt mx nov nr oct ph prof pvt rep rev sen sept sgt sr st str tel univ usw viz vol vs
"""
_ABBREVIATIONS: Final = frozenset(_TITLES_AND_SHORT_FORMS.split())
"""Words that a full stop does not end a sentence after. "No." is missing on purpose: it is an answer, too."""
_LETTERS_AND_STOPS: Final = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
"""What remains of "U.S.", "e.g." and initials without the last stop."""

_WORDS_THAT_BEGIN_PHRASES: Final = """
    about after although and as at because before between but by during for from if in into or since so than that though
    through to under unless until when where whether which while who with without
    aber als bevor bis dass denn für mit nachdem oder ohne um und von wegen weil wenn während
    avec dans et lorsque mais ou parce pendant pour quand que qui sans
    con cuando desde hasta mientras para pero porque según sin
"""
_BEGIN_PHRASES: Final = frozenset(_WORDS_THAT_BEGIN_PHRASES.split())

Ending = Literal["sentence", "pause", "word", "none"]


class ClauseSplitter:
    """Cuts one reply into clauses. Their texts joined are the reply, to the character."""

    def __init__(self) -> None:
        self._text = ""
        self._weight = 0
        self._depth = 0
        self._pause_at = 0
        self._space_at = 0
        self._line_start = True
        self._index = 0
        self._said = 0

    def feed(self, text: str) -> list[Clause]:
        """Takes the next piece of the reply and returns the clauses that are now known to be complete."""
        clauses: list[Clause] = []
        # What a cut leaves over is looked at again before what follows.
        ahead = list(reversed(text))
        while ahead:
            if cut := self._take(ahead.pop()):
                ahead.extend(reversed(self._text[cut:]))
                clauses.append(self._cut(cut))
        return clauses

    def finish(self) -> list[Clause]:
        """Ends the reply and returns what is left of it: one clause or none."""
        return [self._cut(len(self._text))] if self._text else []

    def _cut(self, length: int) -> Clause:
        text = self._text[:length]
        clause = Clause(self._index, text, speakable(text, self._line_start))
        self._index += 1
        self._said += _words(clause.speech)
        self._line_start = text.endswith("\n")
        self._text = ""
        self._weight = self._depth = self._pause_at = self._space_at = 0
        return clause

    def _take(self, char: str) -> int:
        """Adds a character. Returns the length of the clause that it shows to be complete, or 0."""
        before, self._text = self._text, self._text + char
        self._weight += 3 if char.isdigit() or unicodedata.east_asian_width(char) in "WF" else 1
        self._count_brackets(before, char)
        ending = self._ending(before, char)
        length = len(self._text) if char.isspace() else len(before)
        if ending != "none" and self._depth == 0:
            if ending == "word" and self._phrase_begins(before):
                return self._space_at
            if self._complete(ending, length):
                return length
            if ending != "word":
                self._pause_at = length
        if char.isspace():
            self._space_at = len(self._text)
        if self._weight >= MAX_CHARS:
            return self._pause_at or self._space_at or len(self._text)
        return 0

    def _count_brackets(self, before: str, char: str) -> None:
        """No clause ends inside brackets; a bracket that is not closed in its line is none. Nor is that of `:-(`."""
        if char == "\n":
            self._depth = 0
        elif char not in "([" or not before.endswith((":", ";", "-", "=")):
            self._depth = max(0, self._depth + _BRACKETS.get(char, 0))

    def _ending(self, before: str, char: str) -> Ending:
        """What ends where `char` begins (or with it, if it is a space)."""
        if char == "\n":
            return "sentence"
        bare = before.rstrip(_CLOSERS)
        mark = bare[-1:]
        if not mark or mark.isspace():
            return "none"
        if not char.isspace() and (mark not in _NO_SPACE_NEEDED or char in _CLOSERS + _SENTENCE_END + _PAUSE):
            return "none"
        if mark in _PAUSE or bare.endswith(".."):
            return "pause"
        if mark not in _SENTENCE_END:
            return "word"
        return "word" if self._goes_on(bare, before[len(bare) :]) else "sentence"

    def _goes_on(self, bare: str, closers: str) -> bool:
        """Whether the sentence goes on after what `bare` ends with: an abbreviation, or an aside in brackets."""
        if bare.endswith(".") and self._goes_on_after_stop(bare):
            return True
        return ")" in closers and bool(bare.rpartition("(")[0].strip(_OPENERS + " "))

    def _goes_on_after_stop(self, text: str) -> bool:
        line = text.rpartition("\n")[2]
        word = line.split()[-1].strip(_OPENERS).removesuffix(".")
        if word.isdecimal():
            # The number of a list's item, not of a sentence's end.
            return line.strip(" \t*_>.") == word and (self._line_start or "\n" in text)
        if word == "I":
            return False
        return word.casefold() in _ABBREVIATIONS or _LETTERS_AND_STOPS.fullmatch(word) is not None

    def _complete(self, ending: Ending, length: int) -> bool:
        """Whether the first `length` characters, which end so, are to be spoken by themselves."""
        enough = self._said >= ENOUGH_WORDS
        if enough and (ending == "word" or (ending == "pause" and self._weight < LONG_CHARS)):
            return False
        speech = speakable(self._text[:length], self._line_start)
        if enough or ending == "sentence":
            return speech != ""
        # While the clause is said that is out, the next may take longer to be made.
        return _words(speech) >= (FIRST_WORDS if ending == "word" else max(FIRST_WORDS_AT_COMMA, 2 * self._said + 1))

    def _phrase_begins(self, text: str) -> bool:
        """Whether the last word begins a phrase, and what is before it makes a clause for now."""
        if self._said >= ENOUGH_WORDS or not self._space_at:
            return False
        word = text[self._space_at :].strip(_OPENERS).casefold()
        return word in _BEGIN_PHRASES and self._long_enough(text[: self._space_at])

    def _long_enough(self, text: str) -> bool:
        words = speakable(text, self._line_start).split()
        return len(words) >= FIRST_WORDS_OF_PHRASE and words[-1].casefold() not in _BEGIN_PHRASES


def _words(speech: str) -> int:
    """Counts words; two ideographs are one."""
    return len(speech.split()) + sum(unicodedata.east_asian_width(char) in "WF" for char in speech) // 2


class WholeReply:
    """Takes the place of the splitter where a reply is to be said in one go: it is one clause, however long."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, text: str) -> list[Clause]:
        """Takes the next piece of the reply; nothing is complete before its end."""
        self._text += text
        return []

    def finish(self) -> list[Clause]:
        """Ends the reply and returns all of it, or nothing of an empty one."""
        text, self._text = self._text, ""
        return [Clause(0, text, speakable(text))] if text else []


_EMOJI: Final = "\u2600-\u27bf\u2b05-\u2b55\U0001f000-\U0001faff"

_MARKUP: Final = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        (r"^[ \t]*(?:```|~~~)[^\n`]*$", ""),  # fences of code
        (r"\\([\\`*_{}\[\]()#+.!|>~-])", r"\1"),  # escapes
        (r"!?\[([^\[\]]*)\]\([^()]*(?:\([^()]*\)[^()]*)*\)", r"\1"),  # links, pictures
        (r"\]\([^()\s]*\)?", ""),  # the end of a link that was cut
        (r"<(https?://[^\s<>]+)>", r"\1"),
        (r"</?[A-Za-z][\w-]*(?:\s+[\w:-]+=\"[^\"]*\")*\s*/?>", " "),  # HTML
        (r"\bhttps?://(?:www\.)?", ""),
        (r"^[ \t]*(?:[-*_=][ \t]*){3,}$", ""),  # rules
        (r"^[ \t|:-]*\|[ \t|:-]*$", ""),  # rules of tables
        (r"^[ \t]*(?:(?:#{1,6}|[-*+•])[ \t]+|>[ \t]?)+(?:\[[ xX]\][ \t]+)?", ""),  # headings, bullets, quotes
        (r"(?<=[^|\s])[ \t]*\|[ \t]*(?=[^|\s])", ", "),  # cells
        (r"\|", " "),
        (r"\*{2,}|(?<!\d)(?<!\s)\*|\*(?![\d\s])|(?<!\d)\*(?=\d)|(?<=\d)\*(?!\d)|~~|`", ""),  # but not 2*3, 2 * 3
        (r"(?<![^\W_])_+|_+(?![^\W_])", ""),  # but not snake_case
        (rf"[{_EMOJI}][{_EMOJI}\ufe0f\u200d\U000e0020-\U000e007f]*|\ufe0f?\u20e3|\ufe0f", ""),
    )
)


def speakable(text: str, line_start: bool = True) -> str:
    """Returns what a voice should say of a piece of Markdown: words and punctuation, without markup and emoji,
    white space folded. Empty when there is no letter or digit to say.

    `line_start` tells whether the text begins a line, where `- ` is a bullet and `# ` a heading.
    """
    # A character that is no word and no space stands for the rest of the line.
    speech = text if line_start else f"\0{text}"
    for pattern, replacement in _MARKUP:
        speech = pattern.sub(replacement, speech)
    speech = " ".join(speech.removeprefix("\0").split())
    return speech if any(char.isalnum() for char in speech) else ""
