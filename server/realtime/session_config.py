"""The session's configuration: what it starts as, and how an update is merged, judged and applied."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from pipeline.types import NamedTool, ToolChoice
from server.realtime.mcp_schema import McpChoice, McpTool
from server.realtime.mcp_tools import check_mcp_tools, with_definitions
from server.realtime.model_settings import check_reasoning, check_truncation
from server.realtime.refusal import Refusal, check_size
from server.realtime.schema import (
    FIXED_SESSION_FIELDS,
    Audio,
    AudioInput,
    AudioOutput,
    FunctionChoice,
    FunctionTool,
    SemanticVad,
    ServerVad,
    Session,
    SessionKind,
    ToolChoiceParam,
    Transcription,
)
from server.realtime.transcription_session import check_update, without_responses

_OPENAI_TRANSCRIBERS = re.compile(r"whisper-1|gpt-.*(transcribe|whisper).*")
"""Names of OpenAI's transcription models; they lead to the pipeline's own, as its realtime models do."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What the pipeline behind a session is and can do. Voices map what clients say to what the engine knows."""

    model: str
    instructions: str
    voice: str
    voices: Mapping[str, str]
    speeds: tuple[float, float]
    transcriber: str
    languages: frozenset[str]
    transcriber_prompt: bool
    speculation: bool
    prefills: bool = False
    """Whether the language model is told what a prompt begins with before it is complete."""
    log_probabilities: bool = False
    """Whether the transcriber tells how likely the tokens of a transcript are."""
    tools: bool = False
    forced_calls: bool = False
    """Whether the language model can be given tools, and be made to call one."""
    endpointing_reads: frozenset[Literal["sound", "words"]] = frozenset()
    """What the end-of-turn detector looks at besides the silence."""
    semantic_by_default: bool = False
    """Whether sessions begin with `semantic_vad`."""
    temperature: float | None = None
    """What the language model is set to draw with; None: its engine does not say."""
    vision: bool = False
    reasoning: bool = False
    """Whether the language model can be shown images, and told how much to reason."""
    truncation: bool = False
    context: int | None = None
    """Whether the language model can be told what becomes of long conversations; how many tokens one may have with the
    reply to it, where that is known.
    """
    answers_to: Callable[[str], bool] = lambda name: False
    """Whether a name that clients have for a model means this pipeline, besides its own: an alias of models.yaml."""
    traces: bool = False
    """Whether there is a folder for traces. Without one, `tracing` is null whatever is asked for."""


def initial_session(profile: Profile, session_id: str, expires_at: int, kind: SessionKind = "realtime") -> Session:
    """Returns the configuration that a session starts with. `expires_at` is in seconds since 1970."""
    answers = kind == "realtime"
    # Whoever put such a detector into the pipeline wants it used by clients that do not choose, too.
    detection = SemanticVad if profile.semantic_by_default else ServerVad
    return Session(
        type=kind,
        id=session_id,
        model=profile.model,
        expires_at=expires_at,
        instructions=profile.instructions,
        output_modalities=["audio"],
        audio=Audio(
            input=AudioInput(
                transcription=Transcription(model=profile.transcriber),
                turn_detection=detection(create_response=answers, interrupt_response=answers),
            ),
            output=AudioOutput(voice=profile.voice),
        ),
        temperature=profile.temperature,
    )


def updated_session(
    session: Session, update: Mapping[str, Any], profile: Profile, voice_is_fixed: bool, model: str
) -> Session:
    """Returns the configuration with an update merged in; the given one stays as it is.

    Args:
        session: the effective configuration.
        update: the `session` object of the client's event.
        profile: what the pipeline can do.
        voice_is_fixed: whether sound has been sent, so that the voice can change no more.
        model: what the client may call the model besides its own name.

    Raises:
        Refusal: a field is unknown, of the wrong type, or asks for what the pipeline cannot do.
    """
    check_update(update, session.type)
    for name in FIXED_SESSION_FIELDS & update.keys():
        raise Refusal("unknown_parameter", f"`session.{name}` is set by the server.", f"session.{name}")
    merged = _merge(msgspec.to_builtins(session), update, profile.transcriber)
    if merged["model"] == model or (isinstance(merged["model"], str) and profile.answers_to(merged["model"])):
        merged["model"] = session.model
    if session.type == "transcription":
        without_responses(merged)
    try:
        new = msgspec.convert(merged, Session, strict=True)
    except msgspec.ValidationError as error:
        raise refusal_of(error, "session") from None
    new.tools = with_definitions(new.tools, session.tools)
    if not profile.traces:
        new.tracing = None  # clients ask for it unasked, and are told what is: there is none
    _check(new, session, profile, voice_is_fixed)
    check_size(new, "session")
    if isinstance(wanted := tool_choice_of(new.tool_choice), NamedTool):
        new.tool_choice = FunctionChoice(wanted.name)  # the schema of `session.updated` has no bare names
    return new


def merged_changes(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """Returns one update that says what two say, one after the other."""
    merged = dict(first)
    for key, value in then.items():
        before = first.get(key)
        if isinstance(before, dict) and _is_plain(before) and _is_plain(value):
            merged[key] = merged_changes(before, value)
        else:
            merged[key] = value
    return merged


def _merge(old: Mapping[str, Any], new: Mapping[str, Any], transcriber: str) -> dict[str, Any]:
    """Plain objects merge key by key; what has a `type`, lists, and the transcription are replaced whole. Null clears
    what can be absent; said of anything else it says nothing.
    """
    merged = dict(old)
    for key, value in new.items():
        before = old.get(key)
        if value is None and key in old and key not in _CLEARED_BY_NULL:
            continue
        if key == "transcription" and isinstance(value, dict):
            merged[key] = {**value, "model": transcriber if value.get("model") is None else value["model"]}
        elif _is_plain(value) and isinstance(before, dict) and _is_plain(before):
            merged[key] = _merge(before, value, transcriber)
        else:
            merged[key] = _without_nulls(value)
    return merged


_CLEARED_BY_NULL = frozenset(
    {"transcription", "noise_reduction", "turn_detection", "tracing", "prompt", "include", "reasoning", "effort"}
)


def _without_nulls(value: Any) -> Any:
    """Null is as good as nothing where an object is given whole, such as a tool without a description."""
    match value:
        case {"type": str()}:
            return {key: each for key, each in value.items() if each is not None}
        case list():
            return [_without_nulls(each) for each in value]
        case _:
            return value


def _is_plain(value: Any) -> bool:
    return isinstance(value, dict) and "type" not in value


def _check(new: Session, old: Session, profile: Profile, voice_is_fixed: bool) -> None:
    if new.model != old.model:
        raise Refusal(
            "cannot_change_model",
            f"The model of a session is fixed when it connects: '{old.model}'. Connect again with ?model={new.model}.",
            "session.model",
        )
    output = new.audio.output
    if output.voice != old.audio.output.voice:
        check_voice(output.voice, profile, "session.audio.output.voice")
        if voice_is_fixed:
            raise Refusal(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
                "session.audio.output.voice",
            )
    slowest, fastest = profile.speeds
    if not slowest <= output.speed <= fastest:
        raise Refusal(
            "invalid_value",
            f"The speech engine of '{profile.model}' speaks at speeds from {slowest:g} to {fastest:g}.",
            "session.audio.output.speed",
        )
    if (new.tools, new.tool_choice) != (old.tools, old.tool_choice):
        check_tools(new.tools, new.tool_choice, profile, "session")
    if (new.truncation, new.max_output_tokens) != (old.truncation, old.max_output_tokens):
        check_truncation(new, profile)
    check_reasoning(new.reasoning, profile, "session")
    if new.audio.input.transcription is not None:
        _check_transcription(new.audio.input.transcription, profile)
    if new.include and not profile.log_probabilities:
        raise Refusal(
            "invalid_value",
            f"'{profile.transcriber}', which transcribes here, gives no log probabilities: leave `include` out.",
            "session.include",
        )


def check_voice(voice: str, profile: Profile, param: str) -> None:
    """Raises:
    Refusal: the pipeline has no such voice.
    """
    if voice not in profile.voices:
        some = ", ".join(sorted(profile.voices)[:12])
        raise Refusal("invalid_value", f"There is no voice '{voice}'. Some that there are: {some}.", param)


def check_tools(tools: Sequence[FunctionTool | McpTool], choice: ToolChoiceParam, profile: Profile, root: str) -> None:
    """Raises:
    Refusal: the pipeline's model cannot be given tools, two have one name, a server cannot be used, or the choice
        cannot be met.
    """
    if tools and not profile.tools:
        raise Refusal(
            "invalid_value", f"The language model of '{profile.model}' cannot be given tools.", f"{root}.tools"
        )
    check_mcp_tools(tools, choice, root)
    names: list[str] = []
    for index, tool in enumerate(tools):
        if isinstance(tool, FunctionTool):
            if tool.name in names:
                problem = f"There are two tools called '{tool.name}'."
                raise Refusal("invalid_value", problem, f"{root}.tools[{index}].name")
            names.append(tool.name)
    wanted = tool_choice_of(choice)
    where = f"{root}.tool_choice"
    if isinstance(wanted, NamedTool) and wanted.name not in names:
        known = ", ".join(["auto", "none", "required", *names])
        raise Refusal("invalid_value", f"There is no tool '{wanted.name}'. Choose one of: {known}.", where)
    if wanted == "required" and not tools:
        raise Refusal("invalid_value", "A call cannot be required where there are no tools.", where)
    if wanted not in ("auto", "none") and not profile.forced_calls:
        raise Refusal("invalid_value", f"The language model of '{profile.model}' cannot be made to call a tool.", where)


def tool_choice_of(choice: ToolChoiceParam) -> ToolChoice:
    """Returns the choice as the pipeline knows it."""
    match choice:
        case "auto" | "none" | "required":
            return choice
        case McpChoice():
            return "required"  # of which tool is known when the server has told what it has
        case FunctionChoice(name=name) | str(name):
            return NamedTool(name)


def _check_transcription(transcription: Transcription, profile: Profile) -> None:
    where = "session.audio.input.transcription"
    model = transcription.model
    if model != profile.transcriber and not names_a_transcriber(model):
        raise Refusal(
            "invalid_value",
            f"There is no transcription model '{model}'. This pipeline's is '{profile.transcriber}'.",
            f"{where}.model",
        )
    if model.endswith("-diarize"):
        raise Refusal("invalid_value", f"'{profile.transcriber}' does not tell speakers apart.", f"{where}.model")
    for name, language in (
        ("language", transcription.language),
        *(("languages", each) for each in _listed(transcription)),
    ):
        if language and not any(speaks(language, known) for known in profile.languages):
            known_languages = ", ".join(sorted(profile.languages))
            raise Refusal(
                "invalid_value",
                f"'{profile.transcriber}' does not understand '{language}', only: {known_languages}.",
                f"{where}.{name}",
            )
    if transcription.language and _listed(transcription) not in ([], [transcription.language]):
        raise Refusal("invalid_value", "`language` and `languages` name two.", f"{where}.languages")
    for name in ("prompt", "keywords"):
        value = getattr(transcription, name)
        if value is not UNSET and value and not profile.transcriber_prompt:
            raise Refusal("invalid_value", f"'{profile.transcriber}' takes no {name}.", f"{where}.{name}")


def _listed(transcription: Transcription) -> list[str]:
    return transcription.languages or []


def language_of(transcription: Transcription) -> str | None:
    """Returns what is spoken, if the client says so."""
    return transcription.language or next(iter(_listed(transcription)), "") or None


def prompt_of(transcription: Transcription) -> str | None:
    """Returns what the transcriber is told besides the language: the prompt, and the keywords behind it."""
    parts = [transcription.prompt or "", ", ".join(transcription.keywords or ())]
    return " ".join(part for part in parts if part.strip()) or None


def names_a_transcriber(model: str) -> bool:
    """Returns whether this is OpenAI's name of a transcription model: any pipeline's own takes its place."""
    return _OPENAI_TRANSCRIBERS.fullmatch(model) is not None


def speaks(asked: str, known: str) -> bool:
    """Returns whether a language tag asked for (`en`, `en-US`) is met by a known one (`en-us`), by BCP 47 prefix."""
    asked, known = asked.lower(), known.lower()
    return known == asked or known.startswith(f"{asked}-") or asked.startswith(f"{known}-")


_NOT_YET: tuple[tuple[str, str], ...] = (
    (r"format\.(type|rate)", "The formats are audio/pcm at 24000 Hz, audio/pcmu and audio/pcma"),
    (r"(session|response)\.prompt", "Stored prompts are kept by OpenAI: send their text as `instructions`"),
    (r"delay", "Words are shown as soon as they are certain: it is null"),
    (r"languages", "The transcriber can be told of one; without any it recognises what is spoken, if it can"),
    (r"item\.type", "Lists of an MCP server's tools and requests for approval are Parley's to make"),
)
"""Fields, by the end of their path, of which the protocol has more than Parley does so far, and what to say then."""

_AT = re.compile(r"^(?P<problem>.*?)(?: - at `\$(?:\.?)(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")


def refusal_of(error: msgspec.ValidationError, root: str = "") -> Refusal:
    """Turns msgspec's complaint into the protocol's: which field, by path under `root`, and what is wrong with it."""
    match = _AT.match(str(error))
    problem, path = (match["problem"], match["path"] or "") if match else (str(error), "")
    parts = [part for part in (root, path) if part]
    code = "invalid_value"
    if unknown := _UNKNOWN.match(problem):
        code, parts = "unknown_parameter", [*parts, unknown["name"]]
    elif missing := _MISSING.match(problem):
        code, parts = "missing_required_parameter", [*parts, missing["name"]]
    elif problem.startswith("Expected `") and ", got" in problem:
        code = "invalid_type"
    param = ".".join(parts)
    for field, hint in _NOT_YET:
        if re.search(rf"(^|\.)({field})$", param):
            problem = f"{problem}. {hint}"
    return Refusal(code, f"Invalid '{param}': {problem}." if param else f"{problem}.", param or None)
