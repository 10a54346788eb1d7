"""What a client may ask of the language model besides words: how much it reasons, and what becomes of a conversation
that is too long for it.
"""

from typing import TYPE_CHECKING

from pipeline.types import Effort, Truncation
from server.realtime.refusal import Refusal
from server.realtime.schema import Reasoning, RetentionRatio, Session, TruncationParam

if TYPE_CHECKING:
    from server.realtime.session_config import Profile


def check_reasoning(reasoning: Reasoning | None, profile: "Profile", root: str) -> None:
    """Raises:
    Refusal: the pipeline's model does not reason.
    """
    if reasoning is not None and reasoning.effort is not None and not profile.reasoning:
        raise Refusal(
            "invalid_value",
            f"The language model of '{profile.model}' does not reason, or is not told how much: leave this out.",
            f"{root}.reasoning.effort",
        )


def effort_of(*asked: Reasoning | None) -> Effort | None:
    """Returns the first effort that was asked for; None: what the engine is set to."""
    return next((each.effort for each in asked if each is not None and each.effort is not None), None)


def check_truncation(session: Session, profile: "Profile") -> None:
    """Raises:
    Refusal: the pipeline's model cannot be held to it, or its context is smaller than that.
    """
    where, wanted = "session.truncation", session.truncation
    limit = _limit(wanted)
    if wanted == "auto":
        return
    if not profile.truncation:
        problem = (
            f"The language model of '{profile.model}' leaves out of a long conversation what it likes: say 'auto'."
        )
        raise Refusal("invalid_value", problem, where)
    if profile.context is None and limit is None:
        raise Refusal(
            "invalid_value",
            f"How long a conversation the language model of '{profile.model}' takes is not known here: set `context` "
            "of its llm in models.yaml, or use a `retention_ratio` with `token_limits.post_instructions`.",
            where,
        )
    if profile.context is not None and limit is not None:
        reply = 0 if session.max_output_tokens == "inf" else session.max_output_tokens
        if limit > profile.context - reply:
            raise Refusal(
                "invalid_value",
                f"The model's context has {profile.context} tokens, and a reply may take {reply} of them: at most "
                f"{max(0, profile.context - reply)} are left.",
                f"{where}.token_limits.post_instructions",
            )


def truncation_of(wanted: TruncationParam) -> Truncation:
    """Returns it as the pipeline knows it."""
    if isinstance(wanted, RetentionRatio):
        return Truncation("retention_ratio", wanted.retention_ratio, _limit(wanted))
    return Truncation(wanted)


def _limit(wanted: TruncationParam) -> int | None:
    if isinstance(wanted, RetentionRatio) and wanted.token_limits is not None:
        return wanted.token_limits.post_instructions
    return None
