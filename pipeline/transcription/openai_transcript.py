"""Reads the answer of an endpoint that transcribes: one object, or events."""

import contextlib
import math
from typing import Any, TypeGuard

import aiohttp

from pipeline.http.failures import Failures
from pipeline.http.replies import DONE, drain, events, parse_object
from pipeline.types import Segment, TokenLogProbability, Transcript, Word

_WHISPER = """
af afrikaans am amharic ar arabic as assamese az azerbaijani ba bashkir be belarusian bg bulgarian bn bengali
bo tibetan br breton bs bosnian ca catalan cs czech cy welsh da danish de german el greek en english es spanish
et estonian eu basque fa persian fi finnish fo faroese fr french gl galician gu gujarati ha hausa haw hawaiian
he hebrew hi hindi hr croatian ht haitian_creole hu hungarian hy armenian id indonesian is icelandic it italian
ja japanese jw javanese ka georgian kk kazakh km khmer kn kannada ko korean la latin lb luxembourgish ln lingala
lo lao lt lithuanian lv latvian mg malagasy mi maori mk macedonian ml malayalam mn mongolian mr marathi ms malay
mt maltese my myanmar ne nepali nl dutch nn nynorsk no norwegian oc occitan pa punjabi pl polish ps pashto
pt portuguese ro romanian ru russian sa sanskrit sd sindhi si sinhala sk slovak sl slovenian sn shona so somali
sq albanian sr serbian su sundanese sv swedish sw swahili ta tamil te telugu tg tajik th thai tk turkmen tl tagalog
tr turkish tt tatar uk ukrainian ur urdu uz uzbek vi vietnamese yi yiddish yo yoruba yue cantonese zh chinese
""".split()
"""Whisper's languages: code and English name by turns."""

_BY_NAME = {name.replace("_", " "): code for code, name in zip(_WHISPER[::2], _WHISPER[1::2], strict=True)}

WHISPER_LANGUAGES = frozenset(_BY_NAME.values())
"""The languages of Whisper as BCP 47 tags (but for `jw`, which is its own word for Javanese)."""


async def read_transcript(response: aiohttp.ClientResponse, fail: Failures, language: str | None) -> Transcript:
    """Reads the answer, in whatever form it comes. `language` is what was asked for, if anything was.

    Raises:
        StageError: it is an error, no transcript, or breaks off.
    """
    parts: list[Transcript] = []
    in_deltas = False
    async with contextlib.aclosing(events(response, fail)) as stream:
        async for event in stream:
            if event.data == DONE:
                break
            value = parse_object(event.data, fail, event.name)
            match value.get("type"):
                case "transcript.text.delta":
                    in_deltas = True
                case "transcript.text.done":
                    await drain(response)
                    return _transcript(value, language)
                case _:
                    if isinstance(value.get("text"), str):
                        parts.append(_transcript(value, language))
    if in_deltas or not parts:
        raise fail.of_reply("broke off in the middle of its reply" if in_deltas else "sent no transcript")
    return parts[0] if len(parts) == 1 else _joined(parts)


def _joined(parts: list[Transcript]) -> Transcript:
    """One transcript of several, each for a stretch of the utterance (speaches sends them so)."""
    return Transcript(
        " ".join(part.text for part in parts if part.text),
        sum(part.tokens for part in parts),
        parts[0].language,
        tuple(segment for part in parts for segment in part.segments),
        tuple(token for part in parts for token in part.token_log_probabilities),
    )


def _transcript(value: dict[str, Any], language: str | None) -> Transcript:
    text = value["text"].strip() if isinstance(value.get("text"), str) else ""
    named = value.get("language")
    if isinstance(named, str) and named:
        language = _BY_NAME.get(named.lower(), named)
    segments = [entry for entry in _objects(value.get("segments")) if _times(entry)]
    words = [word for entry in _objects(value.get("words")) if (word := _word(entry))]
    usage = value.get("usage")
    tokens = usage.get("output_tokens") if isinstance(usage, dict) else None
    if not isinstance(tokens, int):
        tokens = sum(len(entry["tokens"]) for entry in segments if isinstance(entry.get("tokens"), list))
    return Transcript(
        text,
        tokens or len(text.split()),
        language,
        _segments(text, segments, words),
        tuple(
            _token(str(entry.get("token", "")), float(entry["logprob"]), entry.get("bytes"))
            for entry in _objects(value.get("logprobs"))
            if _is_number(entry.get("logprob"))
        ),
    )


def _segments(text: str, segments: list[dict[str, Any]], words: list[Word]) -> tuple[Segment, ...]:
    """The segments with their words, which come inside them or in a list of their own."""
    if not segments:
        return (Segment(text, words[0].start, words[-1].end, None, tuple(words)),) if words else ()
    made = []
    for number, entry in enumerate(segments):
        start, end = _times(entry) or (0.0, 0.0)
        own = [word for inner in _objects(entry.get("words")) if (word := _word(inner))]
        if not own:
            last = number == len(segments) - 1
            count = next((index for index, word in enumerate(words) if word.start >= end and not last), len(words))
            own, words = words[:count], words[count:]
        mean = entry.get("avg_logprob")
        said = str(entry.get("text", "")).strip()
        made.append(Segment(said, start, end, float(mean) if _is_number(mean) else None, tuple(own)))
    return tuple(made)


def _word(entry: dict[str, Any]) -> Word | None:
    times = _times(entry)
    text = entry.get("word", entry.get("text"))
    if times is None or not isinstance(text, str):
        return None
    probability = entry.get("probability")
    sure = math.log(probability) if _is_number(probability) and 0 < probability <= 1 else None
    return Word(text.strip(), *times, sure)


def _times(entry: dict[str, Any]) -> tuple[float, float] | None:
    start, end = entry.get("start"), entry.get("end")
    return (float(start), float(end)) if _is_number(start) and _is_number(end) else None


def _objects(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _token(text: str, log_probability: float, raw: Any) -> TokenLogProbability:
    """`raw` are the token's bytes, if the endpoint says them in a list."""
    with contextlib.suppress(TypeError, ValueError):  # no list of bytes
        if isinstance(raw, list) and bytes(raw) != text.encode():
            return TokenLogProbability(text, log_probability, bytes(raw))
    return TokenLogProbability(text, log_probability)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
