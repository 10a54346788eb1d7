"""The session's configuration: what it starts as, and how an update is merged, judged and applied."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from pipeline.types import NamedTool, ToolChoice
from server.realtime.mcp_schema import McpChoice, McpTool
from server.realtime.mcp_tools import check_mcp_tools, with_definitions
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
    ToolChoiceParam,
    Transcription,
)

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
    tools: bool = False
    forced_calls: bool = False
    """Whether the language model can be given tools, and be made to call one."""
    endpointing_reads: frozenset[Literal["sound", "words"]] = frozenset()
    """What the end-of-turn detector looks at besides the silence; with nothing there is no `semantic_vad`."""
    temperature: float | None = None
    """What the language model is set to draw with; None: its engine does not say."""
    traces: bool = False
    """Whether there is a folder for traces. Without one, `tracing` is null whatever is asked for."""


def initial_session(profile: Profile, session_id: str, expires_at: int) -> Session:
    """Returns the configuration that a session starts with. `expires_at` is in seconds since 1970."""
    return Session(
        id=session_id,
        model=profile.model,
        expires_at=expires_at,
        instructions=profile.instructions,
        output_modalities=["audio"],
        audio=Audio(
            input=AudioInput(
                transcription=Transcription(model=profile.transcriber),
                # Whoever put such a detector into the pipeline wants it used by clients that do not choose, too.
                turn_detection=SemanticVad() if profile.endpointing_reads else ServerVad(),
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
    if update.get("type") != "realtime":
        raise Refusal("invalid_value", "`session.type` must be 'realtime'.", "session.type")
    for name in FIXED_SESSION_FIELDS & update.keys():
        raise Refusal("unknown_parameter", f"`session.{name}` is set by the server.", f"session.{name}")
    merged = _merge(msgspec.to_builtins(session), update, profile.transcriber)
    if merged["model"] == model:
        merged["model"] = session.model
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


def _merge(old: Mapping[str, Any], new: Mapping[str, Any], transcriber: str) -> dict[str, Any]:
    """Plain objects merge key by key; what has a `type`, lists, and the transcription are replaced whole."""
    merged = dict(old)
    for key, value in new.items():
        before = old.get(key)
        if key == "transcription" and isinstance(value, dict):
            merged[key] = {"model": transcriber, **value}
        elif _is_plain(value) and isinstance(before, dict) and _is_plain(before):
            merged[key] = _merge(before, value, transcriber)
        else:
            merged[key] = value
    return merged


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
    if isinstance(new.audio.input.turn_detection, SemanticVad) and not profile.endpointing_reads:
        raise Refusal(
            "invalid_value",
            f"The pipeline '{profile.model}' ends turns by silence alone. Use 'server_vad', or give it an end-of-turn "
            "detector in models.yaml (`endpointing: {engine: smart-turn, …}`).",
            "session.audio.input.turn_detection.type",
        )
    if (new.tools, new.tool_choice) != (old.tools, old.tool_choice):
        check_tools(new.tools, new.tool_choice, profile, "session")
    if new.audio.input.transcription is not None:
        _check_transcription(new.audio.input.transcription, profile)


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
    if model != profile.transcriber and not _OPENAI_TRANSCRIBERS.fullmatch(model):
        raise Refusal(
            "invalid_value",
            f"There is no transcription model '{model}'. This pipeline's is '{profile.transcriber}'.",
            f"{where}.model",
        )
    language = transcription.language
    if language and not any(speaks(language, known) for known in profile.languages):
        known_languages = ", ".join(sorted(profile.languages))
        raise Refusal(
            "invalid_value",
            f"'{profile.transcriber}' does not understand '{language}', only: {known_languages}.",
            f"{where}.language",
        )
    if transcription.prompt is not UNSET and transcription.prompt and not profile.transcriber_prompt:
        raise Refusal("invalid_value", f"'{profile.transcriber}' takes no prompt.", f"{where}.prompt")


def speaks(asked: str, known: str) -> bool:
    """Returns whether a language tag asked for (`en`, `en-US`) is met by a known one (`en-us`), by BCP 47 prefix."""
    asked, known = asked.lower(), known.lower()
    return known == asked or known.startswith(f"{asked}-") or asked.startswith(f"{known}-")


_NOT_YET: tuple[tuple[str, str], ...] = (
    (r"idle_timeout_ms", "An idle timeout is not there yet in this version of Parley"),
    (r"format\.(type|rate)", "The formats are audio/pcm at 24000 Hz, audio/pcmu and audio/pcma"),
    (r"noise_reduction", "Noise reduction is not there yet in this version of Parley: it is null"),
    (r"prompt|include", "This is not there yet in this version of Parley: it is null"),
    (r"truncation", "Truncation is 'auto' in this version of Parley"),
    (r"image_url|detail", "Images are not there yet in this version of Parley"),
    (r"item\.type", "Lists of an MCP server's tools and requests for approval are Parley's to make"),
    (r"response\.input", "A response's own input is not there yet in this version of Parley"),
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
