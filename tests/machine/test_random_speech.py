"""Random speech with pauses of 50 to 900 ms: what a held reply may never do, whatever the user does next.

Each voiced frame is a word. The transcriber understands the words that it was fed, the model answers with the last
message that it was told, and a random order of what the stages say stands for their speed.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.types import (
    Generated,
    Prompt,
    TurnAudio,
    TurnClause,
    TurnEvent,
    TurnFinished,
    TurnRequest,
)
from server.realtime.session_config import Profile
from tests.machine.scenes import detection
from tests.machine.world import FRAME, PROFILE, SEMANTIC, World

PATIENT = dataclasses.replace(PROFILE, speculation=False, prefills=False)

FRAME_MS = 32

SPEECH = st.lists(
    st.tuples(st.integers(1, 12), st.integers(50, 900).map(lambda ms: -(-ms // FRAME_MS))), min_size=1, max_size=8
)
"""What the user does: so many frames of voice, then so many of silence, and again."""

DETECTIONS = [
    {},
    {"silence_duration_ms": 200},
    {"silence_duration_ms": 800},
    {"interrupt_response": False},
]

LONG_ENOUGH = 80
"""Frames of silence after which every turn is over."""


def reply_to(prompt: Prompt) -> list[str]:
    """What the model says, clause by clause."""
    told = [message.text for message in prompt.messages]
    return [f"You said: {told[-1]}. ", f"That is message {len(told)}. ", f"Before it came: {told[-2]}."]


@dataclass
class Run:
    """A run of the model and its voice. What it says is one event after the other."""

    request: TurnRequest
    events: Iterator[TurnEvent]

    @classmethod
    def of(cls, request: TurnRequest) -> "Run":
        def made() -> Iterator[TurnEvent]:
            for clause in reply_to(request.prompt):
                yield TurnClause(request.run, clause)
                yield TurnAudio(request.run, np.zeros(len(clause) * 100, np.int16))
            yield TurnFinished(request.run, Generated("stop", input_tokens=20, output_tokens=5))

        return cls(request, made())


class Talk:
    """A session, its user, and stages that answer when `now_is_the_time`. Without one they take no time at all."""

    def __init__(self, profile: Profile, turns: dict[str, Any], random: Random | None = None) -> None:
        self.world = World(profile)
        self.world.client(type="session.update", session=detection(**turns))
        self.random = random
        self._runs: dict[Any, Run] = {}
        self._partial = 0

    @property
    def shown(self) -> list[dict[str, Any]]:
        return self.world.wire.events

    def user(self, speech: list[tuple[int, int]]) -> None:
        for voiced, silent in speech:
            for _ in range(voiced):
                self._frame(voiced=True)
            for _ in range(silent):
                self._frame(voiced=False)
        for _ in range(LONG_ENOUGH):
            self._frame(voiced=False)
        self.random = None
        self._stages_answer()

    def _frame(self, *, voiced: bool) -> None:
        self.world.speak(1, voiced)
        self._stages_answer()

    def _stages_answer(self) -> None:
        """As much as is ready by now: all of it, or what chance says."""
        while waiting := self._waiting():
            if self.random is None:
                waiting[0]()
            elif self.random.random() < 0.4:
                self.random.choice(waiting)()
            else:
                return

    def _waiting(self) -> list[Callable[[], object]]:
        """What could come next, from whom it was asked for."""
        world = self.world
        waiting: list[Callable[[], object]] = []
        if world.questions:
            waiting.append(self._hypothesis)
        if world.pauses:
            waiting.append(lambda: world.assess(400))
        if world.finishing:
            waiting.append(lambda: world.transcribe(world.finishing[0], self._words(world.finishing[0])))
        for id_, run in world.runs.items():
            # Cancelled ones too: what was on its way still arrives.
            made = self._runs.setdefault(id_, Run.of(run.request))
            if not run.over and (not run.cancelled or self.random is not None):
                waiting.append(lambda run=run, made=made: self._step(run, made))  # type: ignore[misc]
        if self.random is not None:
            waiting += self._chances()
        return waiting

    def _chances(self) -> list[Callable[[], object]]:
        """What comes unasked: words that hypotheses agree on, and a place that is wanted."""
        world = self.world
        chances: list[Callable[[], object]] = []
        if (spoken := world.machine.listening.utterance) is not None and spoken.turn != self._partial:
            self._partial = spoken.turn
            chances.append(lambda: world.show_partial(spoken.turn, self._words(spoken.turn)))
        chances += [lambda id_=id_: world.want_place(id_) for id_, run in world.runs.items() if run.held]  # type: ignore[misc]
        return chances

    def _step(self, run: Any, made: Run) -> None:
        event = next(made.events)
        run.over = isinstance(event, TurnFinished)
        self.world.handle(event)

    def _hypothesis(self) -> None:
        words = self._words(self.world.questions[0].run.turn)
        if self.random is not None and self.random.random() < 0.2:
            words = words.rpartition(" ")[0]  # it understands the last word only later
        self.world.answer_hypothesis(words)

    def _words(self, turn: int) -> str:
        fed = self.world.utterances[turn].fed
        words = (start for start, end in self.world.voiced if fed and fed[0][0] <= start and end <= fed[-1][1])
        return " ".join(f"w{start // FRAME}" for start in words)

    # --- what was seen ---

    def transcripts(self) -> dict[str, str]:
        """The words of the user's items, by id, in order."""
        done = self.world.wire.of_type("conversation.item.input_audio_transcription.completed")
        return {event["item_id"]: event["transcript"] for event in done}

    def replies(self) -> dict[str, str]:
        """What was said in responses, by id."""
        done = self.world.wire.of_type("response.output_audio_transcript.done")
        return {event["response_id"]: event["transcript"] for event in done}

    def asked(self) -> dict[str, str]:
        """By id of a response, the user's words that it answers: those committed last before it was created."""
        asked, words, known = {}, "", self.transcripts()
        for event in self.shown:
            if event["type"] == "input_audio_buffer.committed":
                words = known[event["item_id"]]
            elif event["type"] == "response.created":
                asked[event["response"]["id"]] = words
        return asked

    def all_words(self) -> str:
        return " ".join(f"w{start // FRAME}" for start, _ in self.world.voiced)


def check_nothing_leaked(talk: Talk) -> None:
    """Every word of a reply that the client was told is of a run that was released, and is what that run says."""
    told = {id_: run for id_, run in talk.world.runs.items() if not run.held}
    clauses = {clause for run in told.values() for clause in reply_to(run.request.prompt)}
    for event in talk.world.wire.of_type("response.output_audio_transcript.delta"):
        assert event["delta"] in clauses


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(speech=SPEECH, turns=st.sampled_from(DETECTIONS))
def test_a_client_sees_with_speculation_what_it_sees_without(
    speech: list[tuple[int, int]], turns: dict[str, Any]
) -> None:
    speculating, patient = Talk(PROFILE, turns), Talk(PATIENT, turns)
    speculating.user(speech)
    patient.user(speech)
    assert speculating.shown == patient.shown
    assert len(speculating.world.runs) >= len(patient.world.runs)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(speech=SPEECH, turns=st.sampled_from(DETECTIONS), random=st.randoms(use_true_random=False))
def test_whenever_the_stages_answer_nothing_leaks_no_word_is_lost_and_replies_are_those_that_were_asked_for(
    speech: list[tuple[int, int]], turns: dict[str, Any], random: Random
) -> None:
    talk = Talk(PROFILE, turns, random)
    talk.user(speech)
    check_nothing_leaked(talk)
    assert " ".join(talk.transcripts().values()) == talk.all_words(), "each word once, in order"
    asked = talk.asked()
    for response_id, said in talk.replies().items():
        assert f"You said: {asked[response_id]}. ".startswith(said[: len(asked[response_id]) + 12])
    talk.world.wire.end()
    talk.world.disconnect()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(speech=SPEECH, random=st.randoms(use_true_random=False))
def test_so_it_is_where_a_detector_judges_the_pauses(speech: list[tuple[int, int]], random: Random) -> None:
    talk = Talk(SEMANTIC, {"type": "semantic_vad", "eagerness": "high"}, random)
    talk.user(speech)
    check_nothing_leaked(talk)
    assert " ".join(talk.transcripts().values()) == talk.all_words()
    talk.world.wire.end()
    talk.world.disconnect()
