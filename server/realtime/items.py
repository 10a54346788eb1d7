"""Items that clients send, made into items of the conversation."""

from collections.abc import Mapping

from msgspec import UNSET

from pipeline.reply_parts import is_json_object
from server.realtime.conversation import CallItem, CallOutputItem, ConversationItem, MessageItem, PartKind, Status
from server.realtime.mcp_items import McpApprovalResponseItem, McpCallItem
from server.realtime.outbox import IdSource
from server.realtime.refusal import Refusal
from server.realtime.schema import ClientItem, ContentPart

_FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "message": (("role", "content"), ()),
    "function_call": (("name", "arguments"), ("call_id",)),
    "function_call_output": (("call_id", "output"), ()),
    "mcp_approval_response": (("approval_request_id", "approve"), ("reason",)),
    "mcp_call": (("server_label", "name", "arguments"), ("output", "error", "approval_request_id")),
}
"""The fields that an item of each type must have, and those that it may have besides."""

_EVERY_ITEM = ("type", "id")
_PLAIN_ITEM = ("object", "status")
"""Fields that do not depend on the type; those of MCP have the first only."""

_ALLOWED: Mapping[str, PartKind] = {"system": "input_text", "user": "input_text", "assistant": "output_text"}
"""The content that a message of each role may have."""


def item_from_client(item: ClientItem, ids: IdSource) -> ConversationItem:
    """Returns the item with an id of its own where the client gave none.

    Raises:
        Refusal: a field is missing, not of this type of item, or not what it may be.
    """
    _check_fields(item)
    status: Status = "incomplete" if item.status == "incomplete" else "completed"
    match item.type:
        case "message":
            return _message(item, ids, status)
        case "function_call":
            assert isinstance(item.name, str)
            assert isinstance(item.arguments, str)
            _check_arguments(item.arguments)
            call_id = item.call_id or ids("call")
            return CallItem(
                id=item.id or ids("item"), call_id=call_id, name=item.name, arguments=item.arguments, status=status
            )
        case "function_call_output":
            assert isinstance(item.call_id, str)
            assert isinstance(item.output, str)
            return CallOutputItem(id=item.id or ids("item"), call_id=item.call_id, output=item.output, status=status)
        case "mcp_approval_response":
            assert isinstance(item.approval_request_id, str)
            assert isinstance(item.approve, bool)
            return McpApprovalResponseItem(
                id=item.id or ids("item"),
                approval_request_id=item.approval_request_id,
                approve=item.approve,
                reason=item.reason or None,
            )
        case "mcp_call":
            return _mcp_call(item, ids)


def _check_fields(item: ClientItem) -> None:
    needed, optional = _FIELDS[item.type]
    for name in needed:
        if getattr(item, name) in (UNSET, None):
            raise Refusal(
                "missing_required_parameter", f"An item of type '{item.type}' needs `{name}`.", f"item.{name}"
            )
    known = {*needed, *optional, *_EVERY_ITEM, *(() if item.type.startswith("mcp_") else _PLAIN_ITEM)}
    for name in item.__struct_fields__:
        if name not in known and getattr(item, name) not in (UNSET, None):
            raise Refusal("unknown_parameter", f"An item of type '{item.type}' has no `{name}`.", f"item.{name}")


def _check_arguments(arguments: str) -> None:
    if not is_json_object(arguments):
        raise Refusal("invalid_value", "`arguments` must be a JSON object as text.", "item.arguments")


def _mcp_call(item: ClientItem, ids: IdSource) -> McpCallItem:
    """A call that was made before: it is told, not made again."""
    assert isinstance(item.server_label, str)
    assert isinstance(item.name, str)
    assert isinstance(item.arguments, str)
    _check_arguments(item.arguments)
    result = item.error or item.output
    if result in (UNSET, None):
        problem = "A call that a client tells of has been made: it needs `output` or `error`. The model makes new ones."
        raise Refusal("missing_required_parameter", problem, "item.output")
    return McpCallItem(
        id=item.id or ids("item"),
        server_label=item.server_label,
        name=item.name,
        tool=item.name,
        arguments=item.arguments,
        approval_request_id=item.approval_request_id or None,
        result=result or "",
    )


def _message(item: ClientItem, ids: IdSource, status: Status) -> MessageItem:
    assert isinstance(item.role, str)
    allowed = _ALLOWED[item.role]
    if not item.content:
        raise Refusal("invalid_value", "A message needs at least one content part.", "item.content")
    texts = [_text(part, allowed, item.role, index) for index, part in enumerate(item.content)]
    return MessageItem(id=item.id or ids("item"), role=item.role, part=allowed, text="\n".join(texts), status=status)


def _text(part: ContentPart, allowed: PartKind, role: str, index: int) -> str:
    where = f"item.content[{index}]"
    if part.type != allowed:
        raise Refusal(
            "invalid_value",
            f"A message of role '{role}' takes content of type '{allowed}', not '{part.type}'.",
            f"{where}.type",
        )
    if part.text is UNSET:
        raise Refusal("missing_required_parameter", f"Content of type '{allowed}' needs `text`.", f"{where}.text")
    for name in ("transcript", "audio"):
        if getattr(part, name) is not UNSET:
            raise Refusal("unknown_parameter", f"Content of type '{allowed}' has no `{name}`.", f"{where}.{name}")
    assert isinstance(part.text, str)
    return part.text
