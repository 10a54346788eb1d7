"""A transcript as the formats in which clients want it."""

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.types import Segment, TokenLogProbability, Transcript

_UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})
"""Languages that put no space between sentences."""


def separator(text: str, language: str | None) -> str:
    """Returns what goes between `text` and what was said after it."""
    return "" if not text or (language or "").partition("-")[0] in _UNSPACED else " "


def joined(parts: Sequence[Transcript], language: str | None) -> Transcript:
    """One transcript of several that follow each other. `language` is what was asked for, if anything was."""
    text = ""
    for part in parts:
        if part.text:
            text += separator(text, part.language or language) + part.text
    return Transcript(
        text,
        sum(part.tokens for part in parts),
        next((part.language for part in parts if part.language), language),
        tuple(segment for part in parts for segment in part.segments),
        tuple(token for part in parts for token in part.token_log_probabilities),
    )


def logprobs(tokens: Iterable[TokenLogProbability]) -> list[dict[str, Any]]:
    """The tokens' log probabilities, as OpenAI writes them."""
    return [{"token": token.text, "logprob": token.log_probability, "bytes": list(token.utf8)} for token in tokens]


def verbose(transcript: Transcript, duration: float, granularities: Iterable[str]) -> dict[str, Any]:
    """OpenAI's `verbose_json`. What no engine tells is null: whether there was no speech, the temperature."""
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": transcript.language or "",
        "duration": round(duration, 3),
        "text": transcript.text,
        "usage": {"type": "duration", "seconds": round(duration, 3)},
    }
    if "segment" in granularities:
        body["segments"] = [_segment(number, segment) for number, segment in enumerate(transcript.segments)]
    if "word" in granularities:
        words = (word for segment in transcript.segments for word in segment.words)
        body["words"] = [
            {"word": word.text.strip(), "start": round(word.start, 3), "end": round(word.end, 3)} for word in words
        ]
    return body


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    said = segment.text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": None,
        "avg_logprob": segment.log_probability,
        # As Whisper counts it: how much shorter the text gets by zlib, which tells repetitions.
        "compression_ratio": round(len(said) / len(zlib.compress(said)), 3) if said else None,
        "no_speech_prob": None,
    }


def srt(transcript: Transcript) -> str:
    """SubRip subtitles, a cue a segment."""
    cues = enumerate(transcript.segments, 1)
    return "\n".join(f"{number}\n{_span(segment, ',')}\n{_cue(segment)}\n" for number, segment in cues)


def vtt(transcript: Transcript) -> str:
    """WebVTT subtitles, a cue a segment."""
    cues = "\n".join(f"{_span(segment, '.')}\n{_cue(segment)}\n" for segment in transcript.segments)
    return f"WEBVTT\n\n{cues}"


def _span(segment: Segment, point: str) -> str:
    return f"{_clock(segment.start, point)} --> {_clock(segment.end, point)}"


def _cue(segment: Segment) -> str:
    # An arrow or an empty line would end the cue.
    return " ".join(segment.text.replace("-->", "->").split())


def _clock(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
