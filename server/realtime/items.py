"""Items that clients send, made into items of the conversation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgspec import UNSET

from pipeline.images import image_of
from pipeline.reply_parts import is_json_object
from server.realtime.conversation import CallItem, CallOutputItem, ConversationItem
from server.realtime.given import (
    GivenImage,
    GivenMessage,
    GivenPart,
    GivenSound,
    GivenText,
    GivenTranscript,
    Status,
    without_bulk,
)
from server.realtime.listening import MAX_BUFFER_MS
from server.realtime.mcp_items import McpApprovalResponseItem, McpCallItem
from server.realtime.outbox import IdSource
from server.realtime.refusal import Refusal, check_size
from server.realtime.schema import AudioFormat, ClientItem, ContentPart
from server.realtime.session_config import Profile
from server.realtime.sound_formats import decoder_of
from server.realtime.usage import ticks_to_ms

_FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "message": (("role", "content"), ()),
    "function_call": (("name", "arguments"), ("call_id",)),
    "function_call_output": (("call_id", "output"), ()),
    "item_reference": (("id",), ()),
    "mcp_approval_response": (("approval_request_id", "approve"), ("reason",)),
    "mcp_call": (("server_label", "name", "arguments"), ("output", "error", "approval_request_id")),
}
"""The fields that an item of each type must have, and those that it may have besides."""

_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text", "output_audio"),
}
"""The content that a message of each role may have."""

_PART_FIELDS: Mapping[str, tuple[str, ...]] = {
    "input_text": ("text",),
    "output_text": ("text",),
    "output_audio": ("transcript",),
    "input_audio": ("audio", "transcript"),
    "input_image": ("image_url", "detail"),
}
"""The fields that content of each type may have; the first it must have."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Sound that came inside an item: PCM16 at 24 kHz, little-endian, and the part that it is to be the words of."""

    content_index: int
    part: GivenSound
    audio: bytes


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item, and the sound in it that has to be put into words."""

    item: ConversationItem
    recordings: tuple[Recording, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemReader:
    """Reads the items of one session's client. `format` is what their sound is in."""

    profile: Profile
    ids: IdSource
    format: AudioFormat

    def read(self, item: ClientItem, where: str = "item") -> NewItem:
        """Returns the item with an id of its own where the client gave none.

        Raises:
            Refusal: a field is missing, not of this type of item, or not what it may be. Names it by its path under
                `where`.
        """
        check_fields(item, where)
        status: Status = "incomplete" if item.status == "incomplete" else "completed"
        item_id = item.id or self.ids("item")
        match item.type:
            case "message":
                new = self._message(item, item_id, status, where)
                check_size(without_bulk(new.item.wire()), where)
                return new
            case "function_call":
                assert item.name is not None
                assert item.arguments is not None
                _check_arguments(item.arguments, where)
                call_id = item.call_id or self.ids("call")
                made: ConversationItem = CallItem(
                    id=item_id, call_id=call_id, name=item.name, arguments=item.arguments, status=status
                )
            case "function_call_output":
                assert item.call_id is not None
                assert item.output is not None
                made = CallOutputItem(id=item_id, call_id=item.call_id, output=item.output, status=status)
            case "mcp_approval_response":
                made = _mcp_approval(item, item_id, where)
            case "mcp_call":
                made = _mcp_call(item, item_id, where)
            case "item_reference":
                problem = "An item of type 'item_reference' is for the `input` of a `response.create`."
                raise Refusal("invalid_value", problem, f"{where}.type")
        check_size(made.wire(), where)
        return NewItem(made)

    def _message(self, item: ClientItem, item_id: str, status: Status, where: str) -> NewItem:
        assert item.role is not None
        if not item.content:
            raise Refusal("invalid_value", "A message needs at least one content part.", f"{where}.content")
        recordings: list[Recording] = []
        parts: list[GivenPart] = []
        for index, part in enumerate(item.content):
            here = f"{where}.content[{index}]"
            _check_part(part, item.role, here)
            if part.type == "input_audio":
                sound, audio = self._sound(part, here)
                parts.append(sound)
                recordings += [Recording(index, sound, audio)] if audio else []
            else:
                parts.append(self._silent(part, here))
        return NewItem(GivenMessage(id=item_id, role=item.role, parts=parts, status=status), tuple(recordings))

    def _silent(self, part: ContentPart, where: str) -> GivenPart:
        match part:
            case ContentPart(type="input_image", image_url=str(url)):
                return self._image(part, url, where)
            case ContentPart(type="output_audio", transcript=str(text)):
                return GivenTranscript(text)
            case ContentPart(type="input_text" | "output_text" as kind, text=str(text)):
                return GivenText(text, kind)
        raise AssertionError("`_check_part` has seen to it")

    def _image(self, part: ContentPart, url: str, where: str) -> GivenImage:
        if not self.profile.vision:
            raise Refusal(
                "invalid_value",
                f"The language model of '{self.profile.model}' does not see: images are for pipelines whose llm does "
                "(in models.yaml, `projector` of llama-cpp, or `vision: true` of openai).",
                f"{where}.type",
            )
        try:
            return GivenImage(image_of(url, part.detail or "auto"))
        except ValueError as error:
            raise Refusal("invalid_value", str(error), f"{where}.image_url") from None

    def _sound(self, part: ContentPart, where: str) -> tuple[GivenSound, bytes]:
        """Sound that comes without being heard (no `audio`) is what its transcript says."""
        transcript = part.transcript if isinstance(part.transcript, str) else None
        if not isinstance(part.audio, bytes):
            return GivenSound(0, text=transcript, transcript=transcript), b""
        decoder = decoder_of(self.format)
        try:
            ticks = decoder.ticks(part.audio)
        except Refusal as refusal:
            raise Refusal(refusal.code, refusal.message, f"{where}.audio") from None
        if not 0 < ticks_to_ms(ticks) <= MAX_BUFFER_MS:
            problem = f"The sound of an item has from 1 ms to {MAX_BUFFER_MS // 60_000} minutes."
            raise Refusal("invalid_value", problem, f"{where}.audio")
        return GivenSound(ticks, transcript=transcript), decoder.decode(part.audio)


def check_fields(item: ClientItem, where: str) -> None:
    """Raises:
    Refusal: a field is missing, or not of this type of item.
    """
    needed, optional = _FIELDS[item.type]
    for name in needed:
        if getattr(item, name) is None:
            raise Refusal(
                "missing_required_parameter", f"An item of type '{item.type}' needs `{name}`.", f"{where}.{name}"
            )
    everywhere = ("type", "id") if item.type.startswith("mcp_") else ("type", "id", "object", "status")
    for name in set(item.__struct_fields__).difference(needed, optional, everywhere):
        if getattr(item, name) is not None:
            raise Refusal("unknown_parameter", f"An item of type '{item.type}' has no `{name}`.", f"{where}.{name}")


def _check_arguments(arguments: str, where: str) -> None:
    if not is_json_object(arguments):
        raise Refusal("invalid_value", "`arguments` must be a JSON object as text.", f"{where}.arguments")


def _mcp_approval(item: ClientItem, item_id: str, where: str) -> McpApprovalResponseItem:
    if where != "item":
        raise Refusal("invalid_value", "An approval is for the conversation: create it as an item.", f"{where}.type")
    assert item.approval_request_id is not None
    assert item.approve is not None
    return McpApprovalResponseItem(
        id=item_id, approval_request_id=item.approval_request_id, approve=item.approve, reason=item.reason
    )


def _mcp_call(item: ClientItem, item_id: str, where: str) -> McpCallItem:
    """A call that was made before: it is told, not made again."""
    assert item.server_label is not None
    assert item.name is not None
    assert item.arguments is not None
    _check_arguments(item.arguments, where)
    result = item.output if item.error is None else item.error
    if result is None:
        problem = "A call that a client tells of has been made: it needs `output` or `error`. The model makes new ones."
        raise Refusal("missing_required_parameter", problem, f"{where}.output")
    return McpCallItem(
        id=item_id,
        server_label=item.server_label,
        name=item.name,
        tool=item.name,
        arguments=item.arguments,
        approval_request_id=item.approval_request_id,
        result=result,
    )


def _check_part(part: ContentPart, role: str, where: str) -> None:
    allowed = _ALLOWED[role]
    if part.type not in allowed:
        raise Refusal(
            "invalid_value",
            f"A message of role '{role}' takes content of type {_listed(allowed)}, not '{part.type}'.",
            f"{where}.type",
        )
    given = set(_given(part))
    fields = _PART_FIELDS[part.type]
    for name in sorted(given.difference(fields)):
        why = ": the assistant's sound cannot be given, only its words" if part.type == "output_audio" else ""
        raise Refusal("unknown_parameter", f"Content of type '{part.type}' has no `{name}`{why}.", f"{where}.{name}")
    needed = fields[:1] if part.type != "input_audio" else fields
    if not given.intersection(needed):
        problem = f"Content of type '{part.type}' needs `{needed[0]}`."
        raise Refusal("missing_required_parameter", problem, f"{where}.{needed[0]}")


def _given(part: ContentPart) -> Iterator[str]:
    for name in ("text", "transcript", "audio", "image_url", "detail"):
        if getattr(part, name) is not UNSET and getattr(part, name) is not None:
            yield name


def _listed(kinds: tuple[str, ...]) -> str:
    quoted = [f"'{kind}'" for kind in kinds]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)
