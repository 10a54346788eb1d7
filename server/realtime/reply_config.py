"""What a response runs with: the session's configuration, and what `response.create` asks for on top."""

from typing import TypeVar

from pipeline.types import Tool
from server.realtime.call import Call
from server.realtime.mcp_schema import McpChoice
from server.realtime.mcp_tools import servers_in, with_definitions
from server.realtime.model_settings import check_reasoning, effort_of, truncation_of
from server.realtime.reply import ReplyConfig
from server.realtime.schema import FunctionTool, ResponseParams, Session
from server.realtime.session_config import Profile, check_tools, check_voice, tool_choice_of

T = TypeVar("T")


def reply_config(session: Session, profile: Profile, params: ResponseParams, call: Call | None) -> ReplyConfig:
    """Returns the configuration in force now for a response that is asked for with `params`.

    Raises:
        Refusal: the pipeline, or the call that the session is, cannot do what is asked for.
    """
    voice, audio_format = session.audio.output.voice, session.audio.output.format
    output = params.audio.output if params.audio is not None else None
    if output is not None and output.voice is not None:
        voice = output.voice
        check_voice(voice, profile, "response.audio.output.voice")
    if output is not None and output.format is not None:
        audio_format = output.format
        if call is not None:
            call.check_format(audio_format, "response.audio.output.format")
    tools = session.tools if params.tools is None else with_definitions(params.tools, session.tools)
    choice = _given(params.tool_choice, session.tool_choice)
    if params.tools is not None or params.tool_choice is not None:
        check_tools(tools, choice, profile, "response")
    check_reasoning(params.reasoning, profile, "response")
    return ReplyConfig(
        instructions=_given(params.instructions, session.instructions),
        modality=_given(params.output_modalities, session.output_modalities)[0],
        voice=voice,
        engine_voice=profile.voices[voice],
        format=audio_format,
        speed=session.audio.output.speed,
        max_output_tokens=_given(params.max_output_tokens, session.max_output_tokens),
        temperature=_given(params.temperature, session.temperature),
        tools=tuple(
            Tool(tool.name, tool.description or "", tool.parameters or {})
            for tool in tools
            if isinstance(tool, FunctionTool)
        ),
        tool_choice=tool_choice_of(choice),
        servers=servers_in(tools),
        server_choice=choice if isinstance(choice, McpChoice) else None,
        parallel_tool_calls=_given(params.parallel_tool_calls, session.parallel_tool_calls),
        effort=effort_of(params.reasoning, session.reasoning),
        truncation=truncation_of(session.truncation),
        metadata=params.metadata,
    )


def _given(asked: T | None, otherwise: T) -> T:
    return otherwise if asked is None else asked
