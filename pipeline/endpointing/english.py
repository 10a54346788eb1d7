"""How likely an English sentence, as far as it was understood, is to go on: rules on its last words and its shape.

Transcribers for live speech write no punctuation, so the words have to do. Where punctuation is there, it counts.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

FINISHED: Final = 0.0
LIKELY: Final = 0.1
"""A statement that could stand alone: so could many that go on."""
UNSURE: Final = 0.35
UNFINISHED: Final = 1.0

Words: TypeAlias = Sequence[str]
_Rule: TypeAlias = Callable[[Words], float | None]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_FILLERS = _set("um uh er erm uhm umm uhh hmm hm mm ah eh")
_SIGNALS = _set("yes yeah yep no nope nah okay ok well so oh and but actually please sorry right sure")
"""What may stand before a short answer without being part of it."""

_SHORT = {
    *_set("yes yeah yep yup no nope nah okay ok sure right exactly correct thanks hello hi hey bye goodbye stop"),
    *_set("maybe perhaps never always sometimes today tomorrow yesterday now later what why who when where how"),
    *_set("cancel continue next again more help quiet nothing both neither none everything all great cool fine"),
    *("good", "really", "not now", "not yet", "not really", "of course", "why not", "me too", "you too", "i see"),
    *("never mind", "so what", "thank you", "thank you very much", "not much", "very much", "a lot", "what else"),
}
"""Whole utterances that need nothing more."""

_FILLING_ENDS = (
    *(("you", "know"), ("i", "mean"), ("let", "me", "see"), ("let", "me", "think"), ("kind", "of"), ("sort", "of")),
    *(("was", "like"), ("it's", "like"), ("would", "like"), ("i'd", "like"), ("and", "then"), ("but", "then")),
    *(("such", "as"), ("so", "that"), ("even", "though"), ("in", "order"), ("as", "well", "as"), ("so", "basically")),
)
"""Ends by which speakers keep their turn."""

_OPENERS = _set(
    "a an the my your our their its and but or nor because cause if unless although whereas while until than as whose "
    "every per plus minus whether via named i'm you're we're they're i've you've we've they've i'd i'll you'll he'll "
    "she'll we'll they'll it'll let's lets it's that's there's here's he's she's what's where's who's how's very quite "
    "such these those basically"
)
"""Words that nothing ends with."""

_ENDS_AFTER = {
    "so": _set("think hope guess suppose believe said why"),
    "his": _set("is was"),
    "number": _set("my your the a that this wrong phone"),
}
"""Words that nothing ends with but after these."""
_QUESTIONS_END_AFTER = _set("know me understand see for so guess sure tell")

_BASE_VERBS = _set("go come do live work talk look think wait belong listen smell run care know good ready")
_PRONOUNS = _set("i you he she it we they that this there")
_SUBJECTS = _set("i he she we they")
_CONTRACTED = _set(
    "i'm you're he's she's it's we're they're i'll you'll he'll she'll it'll we'll they'll i'd you'd he'd she'd we'd "
    "they'd i've you've we've they've that's there's let's"
)
_WH = _set("what who whom which where what's who's where's whatever whoever")
_QUESTIONS = _WH | _set("why when how how's whose why's when's")

_PREPOSITIONS = _set(
    "of to for with from about at by into onto like between against during towards toward without within under among "
    "behind beside besides beyond except despite upon near in on over through"
)
_PARTICLES = _set("in on over through")
"""Prepositions that end sentences as parts of verbs, too: turn it on, come in."""
_PARTICLE_VERBS = {
    "in": _set("come let check log get bring give move join stay drop"),
    "on": _set("turn switch go hold hang carry leave keep move come put"),
    "over": _set("is it's come was think start game get all"),
    "through": _set("go get come put"),
}

_AUXILIARIES = _set(
    "is are was were am be been being have has had do does did will would can could shall should may might must isn't "
    "aren't wasn't weren't don't doesn't didn't won't wouldn't can't cannot couldn't shouldn't haven't hasn't hadn't"
)
_SHORT_ANSWERS = _AUXILIARIES - _set("be been being may might must shall has had were was could would should couldn't")

_TRANSITIVE = _set(
    "want need wants needs wanted needed bring put send give gives gave add set make makes buy take takes remind wanna "
    "gonna gotta bought brought took made"
)
_ASKED_OF = _set("tell give show remind send let bring get")
_SAYING = _set(
    "think know say said says means believe hope guess told tell me remind sure anything something everything "
    "nothing one someone anyone people thing things way feeling so not fact it's is"
)
_BEFORE_A_CLAUSE = _set("if when while although before after since unless until once whenever")
_PENDING_ADVERBS = _set("always never really just only even also almost still probably maybe perhaps actually then")
_QUANTITIES = _set("some any another other more most several few each")

_DIGITS = _set("oh zero one two three four five six seven eight nine")
_NUMBERS = _DIGITS | _set(
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty "
    "seventy eighty ninety hundred thousand million"
)
_DIALLED = _set("number code pin phone telephone")
_COUNTING = _set("about around have has are were with than buy need want exactly nearly almost over add order")
_CENTURIES = _set("eighteen nineteen twenty")

_COMMANDS = _set(
    "turn switch play stop start set call tell read show open close lock find look search remind wake add put give "
    "send write cancel go come wait sing repeat say help let make take get bring translate skip pause resume mute move "
    "delete remove check order book explain describe count spell please don't dim raise lower"
)

_MOST_CHARS: Final = 200
"""Of a long speech without punctuation only so much is read: how it began says nothing of how it ends."""

_OPEN_MARKS = (",", "-", "–", "—", ":", ";", "...", "…", "、", "，")
_CLOSED_MARKS = ("?", "!", "？", "！")


def likely_to_go_on(text: str) -> float:
    """Returns how likely the speaker is to go on, from `FINISHED` to `UNFINISHED`.

    Args:
        text: what was understood so far; not empty.
    """
    text = text.strip().lower().replace("’", "'")
    sentence = re.split(r"[.?!…]+\s+", text[-_MOST_CHARS:])[-1]
    words = re.findall(r"\w+(?:'\w+)*", sentence)
    if not words:
        return UNSURE
    if text.endswith(_OPEN_MARKS):
        return UNFINISHED
    for rule in _RULES:
        if (found := rule(words)) is not None:
            return found
    if text.endswith(_CLOSED_MARKS):
        return FINISHED
    spoken = _without_signals(words)
    begins = spoken[0]
    asked = begins in _QUESTIONS or (begins in _AUXILIARIES and len(spoken) > 2)
    return FINISHED if asked or begins in _COMMANDS else LIKELY


def _without_signals(words: Words) -> Words:
    """Returns the words without fillers and signals in front of them, or the last one."""
    start = 0
    while start < len(words) - 1 and (words[start] in _FILLERS or words[start] in _SIGNALS):
        start += 1
    return words[start:]


def _short(words: Words) -> float | None:
    if " ".join(words) in _SHORT or " ".join(_without_signals(words)) in _SHORT:
        return FINISHED
    return None


def _filled(words: Words) -> float | None:
    """Hesitation at the end."""
    if words[-1] in _FILLERS or any(tuple(words[-len(end) :]) == end for end in _FILLING_ENDS):
        return UNFINISHED
    return None


def _opened(words: Words) -> float | None:
    """Articles, conjunctions, and what else calls for a word after it."""
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if (
        last in _OPENERS
        or (last in ("well", "please", "you") and len(words) == 1)
        or (last == "that" and before in _SAYING)
        or (last in _ENDS_AFTER and before not in _ENDS_AFTER[last])
        or (last in _QUESTIONS and before not in _QUESTIONS_END_AFTER)
    ):
        return UNFINISHED
    return None


def _stranded(words: Words) -> float | None:
    """Prepositions: what comes before a question's may end it (what are you looking at), others go on."""
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last not in _PREPOSITIONS:
        return None
    if last in _PARTICLES:
        verbs = _PARTICLE_VERBS[last]
        if before in verbs:  # "come in" ends, and so may "turn on", but for what is to be turned on
            return FINISHED if before not in ("turn", "switch", "put") else UNFINISHED
        if any(word in verbs for word in words[:-1]) and not any(word in _PREPOSITIONS for word in words[:-1]):
            return FINISHED if last == "on" or before in ("me", "him", "her", "us", "them", "it") else UNFINISHED
    if last == "like" and before not in _SUBJECTS and any(word in _WH for word in words[:-1]):
        return FINISHED
    asks = any(word in _WH for word in words[:-1])
    if asks and (before in _PRONOUNS | _BASE_VERBS or before.endswith(("ing", "ed")) or before in ("made", "called")):
        return FINISHED
    return UNFINISHED


def _auxiliary(words: Words) -> float | None:
    """Forms of to be, to have, to do and the like: they end short answers and indirect questions."""
    last = words[-1]
    if last == "may" and words[-2:-1] in (["of"], ["in"], ["this"], ["next"], ["last"]):
        return None  # the month
    negated = last == "not" and len(words) > 1 and words[-2] in _AUXILIARIES | _CONTRACTED
    if last not in _AUXILIARIES and not negated:
        return None
    spoken = _without_signals(words)
    if len(spoken) == 2 and spoken[0] in _PRONOUNS and last in _SHORT_ANSWERS:
        return LIKELY
    subject = words[-2] if len(words) > 1 else ""
    if subject in _PRONOUNS and any(word in _QUESTIONS or word in ("there", "here") for word in words[:-2]):
        return FINISHED
    if last in ("do", "have") and any(word in _WH for word in words[:-1]):
        return FINISHED  # what can we do
    return LIKELY if last == "do" and subject == "to" else UNFINISHED


def _subject(words: Words) -> float | None:
    """A subject without its verb."""
    if words[-1] not in _SUBJECTS:
        return None
    echoed = words[-2:-1] and words[-2] in _AUXILIARIES and words[-3:-2] in ([], ["so"], ["neither"], ["nor"])
    return LIKELY if echoed else UNFINISHED


def _adverb(words: Words) -> float | None:
    """Adverbs and quantities that stand before what they belong to."""
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in ("much", "many"):
        return None if before in _set("very so too not that as thank") else UNFINISHED
    if last in _PENDING_ADVERBS:
        pending = before in _PRONOUNS | _AUXILIARIES | _CONTRACTED | _set("and but people who") or len(words) == 1
        return UNFINISHED if pending else None
    if last in _QUANTITIES:
        return UNSURE if before not in _set("no any once") else None
    if last == "called":
        return None if any(word in _QUESTIONS for word in words) else UNFINISHED
    if last == "please" and before == "you":
        return UNFINISHED
    return None


def _verb(words: Words) -> float | None:
    """Verbs without their object."""
    spoken = _without_signals(words)
    if len(spoken) == 2 and spoken[0] in _ASKED_OF and spoken[1] in ("me", "us", "him", "her", "them"):
        return UNFINISHED
    if words[-1] in _TRANSITIVE:
        return FINISHED if any(word in _QUESTIONS or word in ("that", "all") for word in words[:-1]) else UNFINISHED
    if len(spoken) == 1 and spoken[0] in _set("tell show give send put set add find make call play turn switch remind"):
        return UNFINISHED
    return None


def _clause(words: Words) -> float | None:
    """A subordinate clause in front, and nothing after it."""
    spoken = _without_signals(words)
    if spoken[0] not in _BEFORE_A_CLAUSE or len(spoken) < 2 or spoken[1] in _AUXILIARIES:
        return None
    subjects = sum(word in _PRONOUNS or word in _CONTRACTED for word in spoken[1:])
    commanded = any(word in _COMMANDS for word in spoken[3:])
    return UNFINISHED if subjects < 2 and not commanded else None


def _number(words: Words) -> float | None:
    """Numbers that are being told, and such that something is to be counted by."""
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last not in _NUMBERS:
        return None
    if any(word in _DIALLED for word in words):
        told = len(words) - max((i + 1 for i, word in enumerate(words) if word not in _NUMBERS), default=0)
        return UNFINISHED if told < 3 else UNSURE if told < 4 else LIKELY
    if before == "in" and last in _CENTURIES:
        return UNFINISHED
    return UNSURE if before in _COUNTING else None


_RULES: tuple[_Rule, ...] = (
    _short,
    _filled,
    _opened,
    _stranded,
    _auxiliary,
    _subject,
    _adverb,
    _verb,
    _clause,
    _number,
)
"""In order: the first that has something to say decides."""
