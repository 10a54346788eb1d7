"""Understands and answers, over HTTP and by rule, for the server that foreign clients are tried with."""

import json
from typing import Any

from pipeline.types import LISTENING_RATE, Pcm16
from tests.openai_endpoint import Answer, Endpoint, chunk, events_answer, said, usage_chunk

STORY = " ".join(f"Sentence number {number} of the story is rather long." for number in range(1, 31))
"""What one interrupts: more than a minute of speech."""


SPOKEN = {"question": "what is your name", "more": "how are you this fine morning"}
"""What is said to it, of different lengths, by which it tells them apart."""


class Brain(Endpoint):
    """Understands what is `SPOKEN`.

    Tells a story if asked for one, calls its first tool if asked for the weather, else repeats what it is told.

    A tool is called with `{"city": "Paris"}`. The result of a call is answered with `The result is …`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard = _understood

    def story_so_far(self) -> list[str]:
        """Returns the words that it was told the user has heard of its last story."""
        messages = self.asked("chat")[-1].json["messages"]
        stories = [each["content"] for each in messages if str(each.get("content")).startswith("Sentence")]
        return str(stories[-1]).split() if stories else []

    def _chat(self, body: dict[str, Any]) -> Answer:
        last = body["messages"][-1]
        text = str(last.get("content") or "")
        if last["role"] == "tool":
            return self._says(body, f"The result is {text}.")
        if "weather" in text and body.get("tools") and body.get("tool_choice") != "none":
            return self._calls(body["tools"][0]["function"]["name"])
        return self._says(body, STORY if "story" in text else f"You said {text}.")

    def _says(self, body: dict[str, Any], text: str) -> Answer:
        return events_answer(*said(text), usage_chunk(len(body["messages"]), len(text.split())))

    def _calls(self, name: str) -> Answer:
        function = {"name": name, "arguments": json.dumps({"city": "Paris"})}
        call = {"index": 0, "id": "call_of_the_brain", "type": "function", "function": function}
        return events_answer(
            chunk(role="assistant", tool_calls=[call]), chunk(finish="tool_calls"), usage_chunk(10, 10)
        )


def _understood(samples: Pcm16) -> str:
    """Returns what was said, by its length: the detector leaves a little of the room around it."""
    if not samples.any():
        return ""  # the silence that LiveKit's old plugin puts into a conversation
    return SPOKEN["more" if len(samples) / LISTENING_RATE > 1.9 else "question"]
