"""What a turn costs, in tokens.

Text is counted by the engines. Sound is counted by OpenAI's published rule (Realtime API, "Managing costs"):
one token for 100 ms of the user's sound, one for 50 ms of the reply's.
"""

from pipeline.types import WIRE_RATE, Generated, Prompt, Transcript
from server.realtime.server_objects import (
    InputTokenDetails,
    OutputTokenDetails,
    TranscriptionTokenDetails,
    TranscriptionUsage,
    Usage,
)

_INPUT_SAMPLES_PER_TOKEN = WIRE_RATE // 10
_OUTPUT_SAMPLES_PER_TOKEN = WIRE_RATE // 20


def ticks_to_ms(ticks: int) -> int:
    """Returns samples at 24 kHz as whole milliseconds, rounded down."""
    return ticks * 1000 // WIRE_RATE


def ms_to_ticks(ms: int) -> int:
    """Returns milliseconds as samples at 24 kHz."""
    return ms * WIRE_RATE // 1000


def input_audio_tokens(ticks: int) -> int:
    return -(-ticks // _INPUT_SAMPLES_PER_TOKEN)


def output_audio_tokens(samples: int) -> int:
    return -(-samples // _OUTPUT_SAMPLES_PER_TOKEN)


def response_usage(generated: Generated | None, prompt: Prompt, spoken_samples: int) -> Usage:
    """Counts a response.

    Args:
        generated: what the language model says; None when it did not come to its end, which then counts as nothing.
        prompt: what the model was told; the user's sound in it counts as well, but for what was left out.
        spoken_samples: the reply's sound, samples at 24 kHz.
    """
    text_in = generated.input_tokens if generated else 0
    text_out = generated.output_tokens if generated else 0
    cached = generated.cached_tokens if generated else 0
    images = generated.image_tokens if generated else 0
    left_out = generated.left_out if generated else frozenset()
    heard = sum(message.heard for index, message in enumerate(prompt.messages) if index not in left_out)
    audio_in, audio_out = input_audio_tokens(heard), output_audio_tokens(spoken_samples)
    return Usage(
        total_tokens=text_in + audio_in + text_out + audio_out,
        input_tokens=text_in + audio_in,
        output_tokens=text_out + audio_out,
        input_token_details=InputTokenDetails(
            text_tokens=text_in - images, audio_tokens=audio_in, image_tokens=images, cached_tokens=cached
        ),
        output_token_details=OutputTokenDetails(text_tokens=text_out, audio_tokens=audio_out),
    )


def transcription_usage(transcript: Transcript, ticks: int) -> TranscriptionUsage:
    """Counts a transcription of `ticks` samples at 24 kHz."""
    audio = input_audio_tokens(ticks)
    return TranscriptionUsage(
        total_tokens=audio + transcript.tokens,
        input_tokens=audio,
        output_tokens=transcript.tokens,
        input_token_details=TranscriptionTokenDetails(text_tokens=0, audio_tokens=audio),
    )
