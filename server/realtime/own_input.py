"""What a response is told in place of the conversation: items of its own, and references to items that are there."""

from collections.abc import Iterable, Sequence

from server.realtime.conversation import CallItem, CallOutputItem, Conversation, ConversationItem
from server.realtime.given import GivenMessage
from server.realtime.items import ItemReader, NewItem, check_fields
from server.realtime.refusal import Refusal
from server.realtime.schema import ClientItem

MAX_IMAGES_BYTES = 32 * 1024 * 1024
"""Most bytes of the images in a session, in its conversation and in what its responses are told."""


def own_input(
    asked: Sequence[ClientItem] | None, reader: ItemReader, conversation: Conversation
) -> tuple[list[NewItem], Conversation | None]:
    """Returns the new items among those asked for, and all of them in order (None: nothing was asked for).

    Raises:
        Refusal: an item is not what it may be, has the id of another, is not there to be referred to, or is the output
            of a call that is not, or was cut off.
    """
    if asked is None:
        return [], None
    new: list[NewItem] = []
    items: list[ConversationItem] = []
    for index, item in enumerate(asked):
        where = f"response.input[{index}]"
        if item.type == "item_reference":
            items.append(_referred(item, conversation, where))
            continue
        read = reader.read(item, where)
        if any(other.id == read.item.id for other in items):
            problem = f"There is already an item with id '{read.item.id}' in the input."
            raise Refusal("item_already_exists", problem, f"{where}.id")
        if isinstance(read.item, CallOutputItem) and not _is_called(read.item.call_id, items):
            problem = (
                f"No whole call before it in the input has the id '{read.item.call_id}': give the call as well, "
                "or an `item_reference` to it."
            )
            raise Refusal("invalid_tool_call_id", problem, f"{where}.call_id")
        new.append(read)
        items.append(read.item)
    return new, Conversation(items)


def _referred(item: ClientItem, conversation: Conversation, where: str) -> ConversationItem:
    check_fields(item, where)
    assert item.id is not None
    found = conversation.find(item.id)
    if found is None:
        raise Refusal("item_not_found", f"There is no item with id '{item.id}' in the conversation.", f"{where}.id")
    return found


def check_images(new: Sequence[NewItem], there: Iterable[Conversation], param: str) -> None:
    """Raises:
    Refusal: with those of the new items there would be too many images in the session.
    """
    more = sum(each.item.image_bytes for each in new if isinstance(each.item, GivenMessage))
    messages = {id(item): item for items in there for item in items if isinstance(item, GivenMessage)}
    total = more + sum(message.image_bytes for message in messages.values())
    if more and total > MAX_IMAGES_BYTES:
        raise Refusal(
            "too_many_images",
            f"The images of the session would take {total} bytes; there is room for {MAX_IMAGES_BYTES}. "
            "Delete items that have served their purpose.",
            param,
        )


def _is_called(call_id: str, items: Iterable[ConversationItem]) -> bool:
    return any(isinstance(item, CallItem) and item.call_id == call_id and item.status == "completed" for item in items)
