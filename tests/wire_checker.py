"""Records one session's wire, and checks every event of it: its form, what clients insist on, the design's invariants.

Every test that sees a wire feeds it here: simulated sessions (tests/machine), sessions in-process (tests/server), and
real servers (tests/e2e). The events are plain dicts, in GA's shape or in beta's: which it is, the first one tells.
"""

import json
from typing import Any
from weakref import WeakKeyDictionary

from pipeline.turn import MAX_CHUNK
from tests.wire.sdk import check, check_beta
from tests.wire_insisted import MAX_EVENT_BYTES, check_insisted
from tests.wire_responses import Response

Event = dict[str, Any]


class WireChecker:
    """Feed it every event in order with `see`; call `end` when the session is over and nothing is pending.

    `max_sound` is the most bytes of sound that an event may carry; None: as many as fit. In a `call` none does: sound
    goes another way.
    """

    def __init__(self, max_sound: int | None = 2 * MAX_CHUNK, call: bool = False) -> None:
        self.events: list[Event] = []
        self.responses: dict[str, Response] = {}
        self._max_sound = max_sound
        self._is_call = call
        self.playing: str | None = None
        """The response that is being played, in a call."""
        self._beta = False
        self._event_ids: set[str] = set()
        self._chain: list[str] = []
        self._item_ids: set[str] = set()
        self._open_items: set[str] = set()
        self._truncated: set[str] = set()
        self._speaking: str | None = None
        self._stopped: str | None = None
        self._buffered: set[str] = set()
        """Ids that stand for sound which is not committed yet."""
        self._sounds: set[str] = set()
        """Ids of the user's sound that was committed, or came in an item."""
        self._transcribed: set[str] = set()
        self._deltas: dict[str, str] = {}
        self._last_stop_ms = 0

    def see(self, event: Event) -> None:
        """Takes the next event. Raises AssertionError when something is wrong with it, or with its place."""
        self._check_begin(event)
        self.events.append(event)
        (check_beta if self._beta else check)(event)
        check_insisted(event, self._beta)
        is_simulated = self._max_sound is None and event["type"].endswith("audio.delta")
        assert is_simulated or len(json.dumps(event)) <= MAX_EVENT_BYTES, "clients read frames of up to 1 MiB"
        assert event["event_id"] not in self._event_ids, "every event has an id of its own"
        self._event_ids.add(event["event_id"])
        if (response_id := event.get("response_id")) is not None:
            assert response_id in self.responses, "no event of a response that was not created (4)"
            if not event["type"].startswith("output_audio_buffer."):  # which goes on when the response is done
                self.responses[response_id].see(event)
        name = event["type"].replace(".", "_")
        handler = getattr(self, f"_on_{name}", None)
        if handler is not None:
            handler(event)

    def _check_begin(self, event: Event) -> None:
        if not self.events:
            assert event["type"] in ("session.created", "transcription_session.created"), "session.created comes first"
            self._beta = "type" not in event["session"]
            self._session_id: str = event["session"]["id"]
        else:
            assert not event["type"].endswith("session.created"), "a session is created once"
        if self._stopped is not None and event["type"] != "error":
            assert event["type"] == "input_audio_buffer.committed", "what has stopped is committed at once"
        if self.events and self.events[-1]["type"] == "response.created":
            assert event["type"] == "rate_limits.updated", "the limits, which there are none of, come with the response"

    @property
    def active(self) -> list[str]:
        return [r.id for r in self.responses.values() if r.done is None and r.in_conversation]

    def end(self) -> None:
        for response in self.responses.values():
            assert response.done is not None, "every response.created gets its response.done (2)"
        if not self._beta:
            assert not self._open_items, "every item that was added is done (3)"

    def of_type(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    # --- the session ---

    def _on_session_updated(self, event: Event) -> None:
        assert event["session"]["id"] == self._session_id, "it is one session"
        self._note_detection(event["session"])

    def _on_session_created(self, event: Event) -> None:
        self._note_detection(event["session"])

    _on_transcription_session_created = _on_session_created

    def _note_detection(self, session: Event) -> None:
        detection = session["turn_detection"] if self._beta else session["audio"]["input"]["turn_detection"]
        if detection is None:
            self._speaking = None

    _on_transcription_session_updated = _on_session_updated

    # --- what is played in a call ---

    def _on_response_output_audio_delta(self, _: Event) -> None:
        assert not self._is_call, "the sound of a call goes over its track"

    _on_response_audio_delta = _on_response_output_audio_delta

    def _on_output_audio_buffer_started(self, event: Event) -> None:
        assert self._is_call, "elsewhere the client plays the sound"
        assert self.playing is None, "one response is played after the other"
        assert self.responses[event["response_id"]].items, "what is played is part of something"
        self.playing = event["response_id"]

    def _on_output_audio_buffer_stopped(self, event: Event) -> None:
        assert self.responses[event["response_id"]].done, "a response that goes on may have more to say"
        self._end_playing(event)

    def _on_output_audio_buffer_cleared(self, event: Event) -> None:
        self._end_playing(event)

    def _end_playing(self, event: Event) -> None:
        assert self.playing == event["response_id"], "what stops has started"
        self.playing = None

    # --- responses ---

    def _on_response_created(self, event: Event) -> None:
        response = event["response"]
        assert response["id"] not in self.responses, "every response has an id of its own"
        self.responses[response["id"]] = Response(response, self._max_sound)
        assert len(self.active) <= 1, "one active response in the default conversation (1)"

    def _on_response_done(self, event: Event) -> None:
        body = event["response"]
        assert body["id"] in self.responses, "what is done was created (2)"
        self.responses[body["id"]].end(body, self._truncated)

    def _on_response_output_item_added(self, event: Event) -> None:
        if not self.responses[event["response_id"]].in_conversation:
            self._take_id(event["item"]["id"])

    def _on_response_output_item_done(self, event: Event) -> None:
        if not self._beta and self.responses[event["response_id"]].in_conversation:
            cut_off = event["item"]["type"] == "mcp_call" and not event["item"]["output"] and not event["item"]["error"]
            is_open = event["item"]["id"] in self._open_items
            assert cut_off or not is_open, "an item is done in the conversation first"

    def _on_response_content_part_added(self, event: Event) -> None:
        if self.responses[event["response_id"]].in_conversation:
            assert event["item_id"] in self._item_ids, "an item is in the conversation before it has content"

    # --- items ---

    def _on_conversation_item_added(self, event: Event) -> None:
        self._take_id(event["item"]["id"])
        self._insert(event["item"]["id"], event["previous_item_id"])
        self._open_items.add(event["item"]["id"])
        if any(part["type"] == "input_audio" for part in event["item"].get("content", ())):
            self._sounds.add(event["item"]["id"])  # the client's items bring sound, too

    _on_conversation_item_created = _on_conversation_item_added

    def _on_conversation_item_done(self, event: Event) -> None:
        item_id = event["item"]["id"]
        assert item_id in self._open_items, "an item is done once, after it was added"
        self._open_items.discard(item_id)
        if item_id in self._chain:
            place = self._chain.index(item_id)
            previous = self._chain[place - 1] if place else None
            assert event["previous_item_id"] == previous, "previous_item_id forms one chain (6)"

    def _on_conversation_item_deleted(self, event: Event) -> None:
        assert event["item_id"] in self._chain, "what is deleted was there"
        self._chain.remove(event["item_id"])
        self._item_ids.discard(event["item_id"])  # a client may give it again

    def _on_conversation_item_retrieved(self, event: Event) -> None:
        assert event["item"]["id"] in self._chain, "what is retrieved is there"

    def _on_conversation_item_truncated(self, event: Event) -> None:
        assert event["item_id"] in self._chain, "what is truncated is there"
        self._truncated.add(event["item_id"])

    def _take_id(self, item_id: str) -> None:
        assert item_id not in self._item_ids, "every item has an id of its own"
        self._item_ids.add(item_id)

    def _insert(self, item_id: str, previous: str | None) -> None:
        if previous is None:
            self._chain.insert(0, item_id)
        else:
            assert previous in self._chain, "previous_item_id forms one chain (6)"
            self._chain.insert(self._chain.index(previous) + 1, item_id)

    # --- the user's speech ---

    def _on_input_audio_buffer_speech_started(self, event: Event) -> None:
        assert self._speaking is None, "one utterance after the other"
        assert event["item_id"] not in self._item_ids | self._buffered, "one id from speech_started on (6)"
        assert event["audio_start_ms"] >= self._last_stop_ms, "padding never reaches behind the last commit (5)"
        self._speaking = event["item_id"]
        self._buffered.add(event["item_id"])
        self._start_ms = event["audio_start_ms"]

    def _on_input_audio_buffer_speech_stopped(self, event: Event) -> None:
        assert event["item_id"] == self._speaking, "one id from speech_started on (6)"
        assert event["audio_end_ms"] >= self._start_ms, "speech ends after it has started"
        self._speaking, self._stopped = None, event["item_id"]
        self._last_stop_ms = event["audio_end_ms"]

    def _on_input_audio_buffer_committed(self, event: Event) -> None:
        if self._stopped is not None:
            assert event["item_id"] == self._stopped, "one id from speech_started on (6)"
        self._speaking = self._stopped = None
        assert event["item_id"] not in self._chain
        assert event["previous_item_id"] == (self._chain[-1] if self._chain else None), "the chain's end (6)"
        self._buffered.discard(event["item_id"])
        self._sounds.add(event["item_id"])

    def _on_input_audio_buffer_cleared(self, event: Event) -> None:
        self._speaking = None
        self._buffered.clear()

    def _on_conversation_item_input_audio_transcription_delta(self, event: Event) -> None:
        known = self._sounds | self._buffered
        assert event["item_id"] in known, "words belong to sound that the client was told of (6)"
        assert event["item_id"] not in self._transcribed, "no delta after the done (3)"
        self._deltas[event["item_id"]] = self._deltas.get(event["item_id"], "") + event["delta"]

    def _on_conversation_item_input_audio_transcription_completed(self, event: Event) -> None:
        self._end_transcription(event)
        shown, transcript = self._deltas.get(event["item_id"], ""), event["transcript"]
        assert shown == transcript or not transcript.startswith(shown), "where deltas show a prefix, they show all (3)"

    def _on_conversation_item_input_audio_transcription_failed(self, event: Event) -> None:
        self._end_transcription(event)

    def _end_transcription(self, event: Event) -> None:
        item_id = event["item_id"]
        assert item_id in self._sounds, "the transcript belongs to sound that was committed (6)"
        assert item_id not in self._transcribed, "what was said is told once"
        self._transcribed.add(item_id)


_wires: "WeakKeyDictionary[Any, WireChecker]" = WeakKeyDictionary()


def next_on(connection: Any, event: Event) -> Event:
    """Returns the event, checked as the next one on this connection: for tests that read a WebSocket themselves."""
    _wires.setdefault(connection, WireChecker()).see(event)
    return event
