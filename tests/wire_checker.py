"""Watches one session's wire and checks the invariants of the design on every server event.

Used on simulated sessions (tests/machine) and on real ones (tests/e2e): the events are plain dicts, in GA's shape or in
beta's, which differ in names.
"""

import json
from typing import Any

Event = dict[str, Any]


class _Part:
    def __init__(self) -> None:
        self.deltas: list[str] = []
        self.audio_chunks = 0
        self.done = False


class _Response:
    def __init__(self, event: Event) -> None:
        self.id: str = event["id"]
        self.in_conversation = event["conversation_id"] is not None
        self.items: dict[str, bool] = {}
        self.parts: dict[str, _Part] = {}
        self.arguments: dict[str, str] = {}
        self.calling: set[str] = set()
        """Calls of tools on MCP servers, which may go on while the next item is made."""
        self.done: Event | None = None


class WireChecker:
    """Feed it every event in order with `see`; call `end` when the session is over and nothing is pending."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.responses: dict[str, _Response] = {}
        self._event_ids: set[str] = set()
        self._chain: list[str] = []
        self._added: dict[str, bool] = {}
        self._speech: dict[str, str] = {}
        self._transcribed: set[str] = set()
        self._deltas: dict[str, str] = {}
        self._last_stop_ms = 0

    def see(self, event: Event) -> None:
        self.events.append(event)
        assert event["event_id"] not in self._event_ids, "every event has an id of its own"
        self._event_ids.add(event["event_id"])
        if (response_id := event.get("response_id")) is not None:
            assert self.responses[response_id].done is None, "nothing of a response follows its done (2)"
        name = event["type"].replace(".", "_")
        handler = getattr(self, f"_on_{name}", None)
        if handler is not None:
            handler(event)

    @property
    def active(self) -> list[str]:
        return [r.id for r in self.responses.values() if r.done is None and r.in_conversation]

    def end(self) -> None:
        for response in self.responses.values():
            assert response.done is not None, "every response.created gets its response.done (2)"

    def of_type(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    # --- responses ---

    def _on_response_created(self, event: Event) -> None:
        response = event["response"]
        assert response["status"] == "in_progress"
        assert response["output"] == []
        assert response["id"] not in self.responses
        self.responses[response["id"]] = _Response(response)
        assert len(self.active) <= 1, "one active response in the default conversation (1)"

    def _on_response_done(self, event: Event) -> None:
        body = event["response"]
        response = self.responses[body["id"]]
        assert response.done is None, "exactly one response.done (2)"
        assert all(response.items.values()), "every item that was added is done (3)"
        assert all(part.done for part in response.parts.values()), "every part that was added is done (3)"
        assert body["status"] in ("completed", "cancelled", "failed", "incomplete")
        usage = body["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert [item["id"] for item in body["output"]] == list(response.items)
        if body["status"] == "completed":
            assert body["status_details"] is None
        else:
            assert body["status_details"]["type"] == body["status"]
        response.done = body

    def _on_response_output_item_added(self, event: Event) -> None:
        items = self.responses[event["response_id"]].items
        running = self.responses[event["response_id"]].calling
        assert all(done or item in running for item, done in items.items()), "one item after the other (3)"
        assert event["output_index"] == len(items)
        items[event["item"]["id"]] = False

    def _on_response_output_item_done(self, event: Event) -> None:
        items = self.responses[event["response_id"]].items
        assert items[event["item"]["id"]] is False
        items[event["item"]["id"]] = True
        if event["item"]["type"] == "function_call" and event["item"]["status"] == "completed":
            assert isinstance(json.loads(event["item"]["arguments"]), dict), "a completed call can be made"

    def _on_response_content_part_added(self, event: Event) -> None:
        response = self.responses[event["response_id"]]
        assert response.items[event["item_id"]] is False
        assert event["item_id"] not in response.parts
        response.parts[event["item_id"]] = _Part()

    def _on_response_content_part_done(self, event: Event) -> None:
        part = self._part(event)
        assert not part.done
        part.done = True

    def _on_response_output_audio_transcript_delta(self, event: Event) -> None:
        self._part(event).deltas.append(event["delta"])

    _on_response_output_text_delta = _on_response_output_audio_transcript_delta
    _on_response_audio_transcript_delta = _on_response_output_audio_transcript_delta
    _on_response_text_delta = _on_response_output_audio_transcript_delta

    def _on_response_output_audio_delta(self, event: Event) -> None:
        self._part(event).audio_chunks += 1

    _on_response_audio_delta = _on_response_output_audio_delta

    def _on_response_output_audio_transcript_done(self, event: Event) -> None:
        assert "".join(self._part(event).deltas) == event["transcript"], "deltas add up to the done text (3)"

    def _on_response_output_text_done(self, event: Event) -> None:
        assert "".join(self._part(event).deltas) == event["text"], "deltas add up to the done text (3)"

    _on_response_audio_transcript_done = _on_response_output_audio_transcript_done
    _on_response_text_done = _on_response_output_text_done

    def _on_response_function_call_arguments_delta(self, event: Event) -> None:
        response = self.responses[event["response_id"]]
        assert response.items[event["item_id"]] is False, "deltas lie between added and done (3)"
        response.arguments[event["item_id"]] = response.arguments.get(event["item_id"], "") + event["delta"]

    def _on_response_function_call_arguments_done(self, event: Event) -> None:
        response = self.responses[event["response_id"]]
        assert response.items[event["item_id"]] is False
        assert response.arguments.get(event["item_id"], "") == event["arguments"], "deltas add up to the done text (3)"

    _on_response_mcp_call_arguments_delta = _on_response_function_call_arguments_delta

    def _on_response_mcp_call_arguments_done(self, event: Event) -> None:
        self._on_response_function_call_arguments_done(event)
        self.responses[event["response_id"]].calling.add(event["item_id"])

    def _part(self, event: Event) -> _Part:
        part = self.responses[event["response_id"]].parts[event["item_id"]]
        assert not part.done, "deltas lie between added and done (3)"
        return part

    # --- items ---

    def _on_conversation_item_added(self, event: Event) -> None:
        self._insert(event["item"]["id"], event["previous_item_id"])
        self._added[event["item"]["id"]] = False

    _on_conversation_item_created = _on_conversation_item_added

    def _on_conversation_item_done(self, event: Event) -> None:
        assert self._added[event["item"]["id"]] is False, "an item is done once, after it was added"
        self._added[event["item"]["id"]] = True

    def _on_conversation_item_deleted(self, event: Event) -> None:
        self._chain.remove(event["item_id"])

    def _insert(self, item_id: str, previous: str | None) -> None:
        assert item_id not in self._chain
        if previous is None:
            self._chain.insert(0, item_id)
        else:
            assert previous in self._chain, "previous_item_id forms one chain (6)"
            self._chain.insert(self._chain.index(previous) + 1, item_id)

    # --- the user's speech ---

    def _on_input_audio_buffer_speech_started(self, event: Event) -> None:
        assert event["audio_start_ms"] >= self._last_stop_ms, "padding never reaches behind the last commit (5)"
        self._speech[event["item_id"]] = "started"

    def _on_input_audio_buffer_speech_stopped(self, event: Event) -> None:
        assert self._speech[event["item_id"]] == "started", "one id from speech_started on (6)"
        self._speech[event["item_id"]] = "stopped"
        self._last_stop_ms = event["audio_end_ms"]

    def _on_input_audio_buffer_committed(self, event: Event) -> None:
        if event["item_id"] in self._speech:
            assert self._speech[event["item_id"]] in ("stopped", "started")
        assert event["item_id"] not in self._chain
        assert event["previous_item_id"] == (self._chain[-1] if self._chain else None), "the chain's end (6)"

    def _on_conversation_item_input_audio_transcription_delta(self, event: Event) -> None:
        assert event["item_id"] not in self._transcribed
        self._deltas[event["item_id"]] = self._deltas.get(event["item_id"], "") + event["delta"]

    def _on_conversation_item_input_audio_transcription_completed(self, event: Event) -> None:
        item_id = event["item_id"]
        assert item_id in self._added, "the transcript belongs to an item that was added (6)"
        assert item_id not in self._transcribed
        self._transcribed.add(item_id)
        shown, transcript = self._deltas.get(item_id, ""), event["transcript"]
        assert shown == transcript or not transcript.startswith(shown), "where deltas show a prefix, they show all (3)"
