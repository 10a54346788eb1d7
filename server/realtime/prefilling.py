"""What the model is told while the user still speaks: what the prompt of the next reply begins with.

Instructions and tools are known when the session begins, and again when the client changes them or the history; the
history is complete when the user begins to speak; and of what they say, more is known with each word that hypotheses
agree on. A model that `prefills` computes that meanwhile, so that at the end only the last words are left.

It is the request that a reply to it would be made with: the same tools, template settings and truncation, or the
work would be for nothing. Nothing is told while a reply is being made or held: that has the whole prompt already, and
what follows it is not known. Nor for a client that makes its own responses (`create_response: false`), with what it
likes; but for push-to-talk, where that is how every turn is answered.
"""

from collections.abc import Callable

from server.realtime import client_events as client
from server.realtime.commands import Prefill
from server.realtime.conversation import Conversation
from server.realtime.inbox import Event, McpListingFailed, McpToolsListed, PartialTranscript
from server.realtime.listening import Listening, Phase
from server.realtime.outbox import Outbox
from server.realtime.reply import ReplyConfig
from server.realtime.responding import Responding
from server.realtime.session_config import Profile

_CHANGES: tuple[type, ...] = (
    client.SessionUpdate,
    client.ConversationItemCreate,
    client.ConversationItemDelete,
    client.ConversationItemTruncate,
    McpToolsListed,
    McpListingFailed,
)
"""Events that may change what the prompt begins with."""


class Prefilling:
    """What the model of one session has been told of the prompt to come."""

    def __init__(
        self,
        outbox: Outbox,
        profile: Profile,
        listening: Listening,
        responding: Responding,
        *,
        conversation: Conversation,
        reply_config: Callable[[], ReplyConfig],
    ) -> None:
        """`reply_config` returns what a response would be made with now."""
        self._outbox = outbox
        self._profile = profile
        self._listening = listening
        self._responding = responding
        self._conversation = conversation
        self._reply_config = reply_config
        self._is_due = True
        """Whether what comes before the user's words is new."""
        self._turn: int | None = None
        """The utterance under way."""
        self._words = ""
        self._told = ""
        """The words of it that are known, and those that the model knows."""

    def observe(self, event: Event) -> None:
        """Takes an event that the machine has handled."""
        utterance = self._listening.utterance
        if utterance is not None and utterance.turn != self._turn:
            # The history is complete: what was interrupted was heard so far and no further.
            self._turn, self._words, self._told, self._is_due = utterance.turn, "", "", True
        if isinstance(event, _CHANGES):
            self._is_due = True
        elif isinstance(event, PartialTranscript) and event.turn == self._turn:
            self._words = event.text.strip()

    def watch(self, *, answers: bool) -> None:
        """Tells the model what is new, if it can be told yet. `answers`: the session's turns are answered."""
        speaking = self._listening.utterance is not None
        is_new = self._is_due or (speaking and self._words != self._told)
        if not (is_new and answers and self._profile.prefills):
            return
        if self._responding.is_busy or self._conversation.pending():
            return
        if self._listening.phase is Phase.MAYBE_DONE and self._profile.speculation:
            return  # the whole reply is about to be begun
        words = self._words if speaking else None
        if (request := self._responding.expected(self._reply_config(), words)) is not None:
            self._is_due, self._told = False, self._words
            self._outbox.put(Prefill(request.generation))
