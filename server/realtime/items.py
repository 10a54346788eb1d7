"""Items that clients send, made into items of the conversation."""

from msgspec import UNSET

from server.realtime.conversation import ConversationItem, PartKind
from server.realtime.outbox import IdSource
from server.realtime.refusal import Refusal
from server.realtime.schema import ClientItem, ContentPart

_ALLOWED: dict[str, PartKind] = {"system": "input_text", "user": "input_text", "assistant": "output_text"}
"""The content that a message of each role may have."""


def item_from_client(item: ClientItem, ids: IdSource) -> ConversationItem:
    """Returns the item with an id of its own where the client gave none.

    Raises:
        Refusal: the content is not what a message of this role may have.
    """
    allowed = _ALLOWED[item.role]
    if not item.content:
        raise Refusal("invalid_value", "A message needs at least one content part.", "item.content")
    texts = [_text(part, allowed, item.role, index) for index, part in enumerate(item.content)]
    return ConversationItem(
        id=item.id or ids("item"),
        role=item.role,
        part=allowed,
        text="\n".join(texts),
        status="incomplete" if item.status == "incomplete" else "completed",
    )


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
