"""Messages that clients add, part by part: text, sound that has to be put into words first, and images."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias

import msgspec
from msgspec import UNSET

from pipeline.images import data_url
from pipeline.types import Image, Message
from server.realtime.refusal import MAX_OBJECT_BYTES
from server.realtime.schema import ContentPart, Item

Status: TypeAlias = Literal["completed", "incomplete", "in_progress"]


@dataclass(slots=True)
class GivenText:
    text: str
    kind: Literal["input_text", "output_text"]

    def wire(self) -> ContentPart:
        return ContentPart(type=self.kind, text=self.text)


@dataclass(slots=True)
class GivenTranscript:
    """What the assistant is to have said aloud."""

    text: str

    def wire(self) -> ContentPart:
        return ContentPart(type="output_audio", transcript=self.text)


@dataclass(slots=True)
class GivenSound:
    """Sound of the user's. `text` is what it says, None until that is known; the client may have a transcript of its
    own, which is shown in place of that. `ticks` is its length in samples at 24 kHz.
    """

    ticks: int
    text: str | None = None
    transcript: str | None = None

    def wire(self) -> ContentPart:
        return ContentPart(type="input_audio", transcript=self.text if self.transcript is None else self.transcript)


@dataclass(slots=True)
class GivenImage:
    image: Image

    def wire(self) -> ContentPart:
        return ContentPart(type="input_image", image_url=data_url(self.image), detail=self.image.detail)


GivenPart: TypeAlias = GivenText | GivenTranscript | GivenSound | GivenImage


@dataclass(slots=True, kw_only=True)
class GivenMessage:
    """One message of a client's."""

    id: str
    role: Literal["system", "user", "assistant"]
    parts: list[GivenPart]
    status: Status = "completed"

    @property
    def sounds(self) -> Iterator[GivenSound]:
        return (part for part in self.parts if isinstance(part, GivenSound))

    @property
    def is_pending(self) -> bool:
        """Whether words are still being found out."""
        return any(sound.text is None for sound in self.sounds)

    @property
    def image_bytes(self) -> int:
        return sum(len(part.image.data) for part in self.parts if isinstance(part, GivenImage))

    def message(self) -> Message | None:
        """Returns the message as the model sees it; None when there is nothing in it."""
        text = ""
        images: list[Image] = []
        for part in self.parts:
            if isinstance(part, GivenImage):
                images.append(replace(part.image, at=len(text)))
            elif said := (part.text or "").strip():
                text += f"\n{said}" if text else said
        if not text and not images:
            return None
        return Message(self.role, text, images=tuple(images), heard=sum(sound.ticks for sound in self.sounds))

    def wire(self) -> Item:
        return message_of(self, [part.wire() for part in self.parts])


class _SaidBySomebody(Protocol):
    id: str
    status: Status

    @property
    def role(self) -> str: ...


def message_of(said: _SaidBySomebody, content: list[ContentPart]) -> Item:
    """Returns a message as events carry it."""
    return Item(id=said.id, object="realtime.item", type="message", status=said.status, role=said.role, content=content)


def fitting(item: Item) -> Item:
    """Returns the item, without its images and sound where they would make an event longer than clients read."""
    if item.content is UNSET or not any(part.image_url or part.audio for part in item.content):
        return item
    if len(msgspec.json.encode(item)) <= MAX_OBJECT_BYTES:
        return item
    return without_bulk(item)


def without_bulk(item: Item) -> Item:
    """Returns the item without its images and sound."""
    if item.content is UNSET:
        return item
    bare = [msgspec.structs.replace(part, image_url=UNSET, audio=UNSET) for part in item.content]
    return msgspec.structs.replace(item, content=bare)
