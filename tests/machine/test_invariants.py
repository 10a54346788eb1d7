"""The invariants of the design, on random sessions with pauses, cancels, faults and disconnects."""

import base64
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server.realtime.responding import MAX_RESPONSES
from server.realtime.session_config import Profile
from tests.machine.world import FRAME, READING, SEMANTIC, SimulatedRun, World

TURN_DETECTIONS: list[Any] = [
    None,
    {"type": "server_vad"},
    {"type": "server_vad", "silence_duration_ms": 200, "prefix_padding_ms": 0},
    {"type": "server_vad", "interrupt_response": False},
    {"type": "server_vad", "create_response": False},
    {"type": "server_vad", "idle_timeout_ms": 5_000},
    {"type": "server_vad", "idle_timeout_ms": 6_000, "create_response": False},
    {"type": "semantic_vad", "eagerness": "high"},
]

STEPS = ["clause", "clause", "clause", "call", "empty call", "half a call", "finish", "limit", "fail"]

PARTS = [
    {"type": "input_text", "text": "hello"},
    {"type": "input_text", "text": "what time is it"},
    {"type": "input_audio", "audio": base64.b64encode(bytes(4800)).decode()},
]

PARTIALS = ["", "hello", "hello there", "what"]


class Sessions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(SEMANTIC)
        self.updates = 0

    @initialize(profile=st.sampled_from([SEMANTIC, READING]))
    def pipeline_is_chosen(self, profile: Profile) -> None:
        self.world = World(profile)

    # --- the user ---

    @rule(frames=st.integers(1, 12), voiced=st.booleans())
    def user_speaks_or_pauses(self, frames: int, voiced: bool) -> None:
        self.world.speak(frames, voiced)

    @rule(frames=st.integers(2, 30))
    def user_says_something_and_stops(self, frames: int) -> None:
        self.world.speak(frames, voiced=True)
        self.world.speak(17, voiced=False)

    @rule(ticks=st.integers(0, 5 * FRAME))
    def client_sends_sound_ahead_of_the_detector(self, ticks: int) -> None:
        self.world.append(ticks)

    @rule(voiced=st.booleans())
    def detector_catches_up(self, voiced: bool) -> None:
        while self.world.appended - self.world.judged >= FRAME:
            before = self.world.judged
            self.world.judge(voiced)
            if self.world.judged == before:
                return

    @rule(ms=st.one_of(st.integers(0, 3000), st.integers(5_000, 20_000)))
    def time_passes(self, ms: int) -> None:
        self.world.wait(ms)

    # --- the client ---

    @rule()
    def client_commits(self) -> None:
        self.world.client(type="input_audio_buffer.commit")

    @rule()
    def client_clears(self) -> None:
        sent = self.world.client(type="input_audio_buffer.clear")
        assert "input_audio_buffer.cleared" in [event["type"] for event in sent]
        self.world.voiced.clear()

    @rule(
        where=st.sampled_from(["auto", "none"]),
        modality=st.sampled_from(["audio", "text"]),
        limit=st.sampled_from([16, "inf"]),
    )
    def client_asks_for_a_response(self, where: str, modality: str, limit: Any) -> None:
        busy = where == "auto" and bool(self.world.wire.active)
        under_way = sum(response.done is None for response in self.world.wire.responses.values())
        response = {"conversation": where, "output_modalities": [modality], "max_output_tokens": limit}
        sent = self.world.client(type="response.create", event_id="ask", response=response)
        if busy:
            assert sent[0]["error"]["code"] == "conversation_already_has_active_response"
            assert sent[0]["error"]["event_id"] == "ask"
        elif under_way == MAX_RESPONSES:
            assert sent[0]["error"]["code"] == "too_many_responses"
        else:
            assert sent[0]["type"] == "response.created"

    @rule(data=st.data(), part=st.sampled_from(PARTS))
    def client_asks_for_a_response_to_something_else(self, data: st.DataObject, part: Any) -> None:
        added = [event["item"]["id"] for event in self.world.wire.of_type("conversation.item.added")]
        items: list[Any] = [{"type": "message", "role": "user", "content": [part]}]
        referred = data.draw(st.sets(st.sampled_from(added or [""])))
        items += [{"type": "item_reference", "id": item_id} for item_id in sorted(referred)]
        sent = self.world.client(type="response.create", response={"conversation": "none", "input": items})
        assert sent[0]["type"] in ("response.created", "error")

    @rule()
    def client_cancels(self) -> None:
        active = list(self.world.wire.active)
        sent = self.world.client(type="response.cancel")
        if active:
            # What was said meanwhile is answered right away, so another response may follow.
            done = next(event["response"] for event in sent if event["type"] == "response.done")
            assert done["status_details"]["reason"] == "client_cancelled"
            assert done["id"] == active[0]
        else:
            assert sent[0]["error"]["code"] == "response_cancel_not_active"

    @rule(detection=st.sampled_from(TURN_DETECTIONS))
    def client_changes_turn_detection(self, detection: Any) -> None:
        was_manual = self.world.machine.session.audio.input.turn_detection is None
        self.updates += 1
        session = {
            "type": "realtime",
            "instructions": f"Instructions {self.updates}.",
            "audio": {"input": {"turn_detection": detection}},
        }
        sent = self.world.client(type="session.update", session=session)
        assert sent[0]["type"] == "session.updated"  # what waited for the user's silence may follow
        if was_manual != (detection is None):
            self.world.voiced.clear()  # what waits changes hands: from the detector to the client or back

    @rule(part=st.sampled_from(PARTS), where=st.sampled_from([None, "root", "nowhere"]))
    def client_adds_an_item(self, part: Any, where: str | None) -> None:
        item = {"type": "message", "role": "user", "content": [part]}
        sent = self.world.client(type="conversation.item.create", item=item, previous_item_id=where)
        assert sent[0]["type"] == ("error" if where == "nowhere" else "conversation.item.added")

    @rule(data=st.data(), ms=st.integers(0, 400))
    def client_truncates(self, data: st.DataObject, ms: int) -> None:
        spoken = [
            event["item"]["id"]
            for event in self.world.wire.of_type("conversation.item.added")
            if event["item"].get("role") == "assistant"
        ]
        if spoken:
            item_id = data.draw(st.sampled_from(spoken))
            sent = self.world.client(
                type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=ms
            )
            assert sent[0]["type"] in ("conversation.item.truncated", "error")

    @rule(data=st.data())
    def client_answers_a_call(self, data: st.DataObject) -> None:
        calls = [
            event["item"]["call_id"]
            for event in self.world.wire.of_type("conversation.item.added")
            if event["item"]["type"] == "function_call"
        ]
        call_id = data.draw(st.sampled_from([*calls, "call_unknown"]))
        item = {"type": "function_call_output", "call_id": call_id, "output": "42"}
        sent = self.world.client(type="conversation.item.create", item=item)
        assert sent[0]["type"] in ("conversation.item.added", "error")

    @rule(data=st.data())
    def client_deletes_an_item(self, data: st.DataObject) -> None:
        added = [event["item"]["id"] for event in self.world.wire.of_type("conversation.item.added")]
        if added:
            self.world.client(type="conversation.item.delete", item_id=data.draw(st.sampled_from(added)))

    # --- the stages ---

    @precondition(lambda self: self.world.questions)
    @rule(text=st.sampled_from(["", "hello there", "what time"]))
    def hypothesis_arrives(self, text: str) -> None:
        self.world.answer_hypothesis(text)

    @precondition(lambda self: self.world.runs)
    @rule(data=st.data())
    def place_of_a_run_is_wanted(self, data: st.DataObject) -> None:
        # Of any run: by the time the machine hears of it, it may be held no longer.
        run = data.draw(st.sampled_from(sorted(self.world.runs, key=lambda run: (run.turn, run.revision))))
        was_held = self.world.runs[run].held
        cancelled = self.world.runs[run].cancelled
        self.world.want_place(run)
        assert self.world.runs[run].cancelled == (cancelled or was_held), "only a held reply gives way"

    @precondition(lambda self: self.world.utterances)
    @rule(data=st.data(), text=st.sampled_from(PARTIALS))
    def hypotheses_agree(self, data: st.DataObject, text: str) -> None:
        # On utterances that are over, too: what was on its way still arrives.
        turn = data.draw(st.sampled_from(sorted(self.world.utterances)))
        sent = self.world.show_partial(turn, text)
        assert not sent or self.world.utterances[turn].state in ("open", "finishing")

    @precondition(lambda self: self.world.pauses)
    @rule(silence_ms=st.sampled_from([100, 500, 2000]))
    def pause_is_assessed(self, silence_ms: int) -> None:
        self.world.assess(silence_ms)

    @precondition(lambda self: self.world.finishing)
    @rule(text=st.sampled_from(["", "hello there", "what time", None]))
    def transcript_arrives(self, text: str | None) -> None:
        self.world.transcribe(self.world.finishing[0], text)

    def _unfinished(self) -> list[SimulatedRun]:
        return [run for run in self.world.runs.values() if not run.over]

    @precondition(lambda self: self._unfinished())
    @rule(data=st.data(), what=st.sampled_from(STEPS))
    def run_makes_something(self, data: st.DataObject, what: str) -> None:
        # Cancelled runs too: what was on its way still arrives.
        self.world.step_run(data.draw(st.sampled_from(self._unfinished())), what)

    # --- what must hold ---

    @invariant()
    def no_word_is_lost(self) -> None:
        self.world.check_voiced_was_heard()

    @invariant()
    def responses_run_with_the_configuration_they_were_created_with(self) -> None:
        known = set(self.world.instructions_at_creation.values()) | {self.world.machine.session.instructions}
        for run in self.world.runs.values():
            if not run.held and not run.cancelled:
                assert run.request.prompt.messages[0].text in known

    def teardown(self) -> None:
        for turn in self.world.finishing:
            self.world.transcribe(turn, "the end")
        for run in self._unfinished():
            if not run.cancelled:
                self.world.step_run(run, "finish")
        for run in self._unfinished():  # those that were started by the transcripts
            if not run.cancelled:
                self.world.step_run(run, "finish")
        self.world.speak(130, voiced=False)
        for turn in self.world.finishing:
            self.world.transcribe(turn, "")
        for run in self._unfinished():
            if not run.cancelled and not run.held:
                self.world.step_run(run, "finish")
        self.world.wire.end()
        self.world.disconnect()


Sessions.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSessions = Sessions.TestCase
