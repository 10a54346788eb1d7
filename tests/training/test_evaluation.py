"""The evaluation of the built-in model: how cases are read and judged, and what they keep from training."""

import json
import re
from pathlib import Path

import pytest

from scripts.train_builtin_model import disjoint, reserve
from scripts.train_builtin_model.dialogue import Dialogue, Message
from scripts.train_builtin_model.evaluation_cases import Case, Part, cases, functions, names, read_file, read_parts
from scripts.train_builtin_model.evaluation_checks import Call, Reply, numbers_in, right
from scripts.train_builtin_model.evaluation_report import as_json, as_markdown, as_text, missed
from scripts.train_builtin_model.evaluation_run import Answer, asked_under, given, grouped


def said(wanted: str, *texts: str) -> bool:
    return right(wanted, [Reply(text) for text in texts])


def called(wanted: str, *calls: Call) -> bool:
    return right(wanted, [Reply("", calls)])


# --- what is right --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "good", "bad"),
    [
        ("paris", "The capital of France is Paris.", "It is Rome."),
        ("paris && !rome", "Paris.", "Paris or Rome."),
        ("=42", "Six times seven is forty-two.", "That is forty three."),
        ("=42", "42.", "It's 142."),
        ("=365", "It has three hundred and sixty five days.", "It has three hundred days and sixty five."),
        ("=9000", "Nine thousand.", "Nine."),
        ("dozen|=12", "A dozen.", "Eleven."),
        ("@spell cat", "Cat is spelled C, A, T.", "Cat is spelled C, A, R, T."),
        ("@spell cat", "That's C-A-T.", "cat"),
        ("@words 1", "Paris.", "It is Paris."),
        ("@asks", "For which town?", "The weather is fine."),
        ("^\\W*ahoy\\b", "Ahoy! It's Paris.", "It's Paris, ahoy."),
    ],
)
def test_a_reply_is_judged_by_what_it_says(wanted: str, good: str, bad: str) -> None:
    assert said(wanted, good)
    assert not said(wanted, bad)


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, I don't know that.",
        "I have no clock, so I can't tell you the time.",
        "That is beyond me, I'm afraid.",
        "I’m not able to do that.",
        "I only know a few simple things.",
        "Never heard of it.",
        "There's no internet here.",
        "Sorry, can't do that.",
        "That's not something I know.",
        "I cannot switch lights.",
    ],
)
def test_any_honest_wording_is_honest(reply: str) -> None:
    assert said("@honest", reply)


@pytest.mark.parametrize(
    "reply",
    [
        "It's half past three.",
        "Okay, the light is off now.",
        "It isn't raining in Manchester.",
        "He was the mayor, not the king.",
        "Sorry for the wait, it is twelve degrees.",
        "",
    ],
)
def test_an_invention_is_not(reply: str) -> None:
    assert not said("@honest", reply)


def test_jokes_in_a_row_must_differ() -> None:
    assert said("@distinct", "Why did it fall? It was two tired.", "What is brown and sticky? A stick.")
    assert not said("@distinct", "What is brown and sticky? A stick.", "Another. What is brown and sticky? A stick.")
    assert not said("@distinct", "What is brown and sticky? A stick.", "I'm sorry, I don't know that.")


def test_each_reply_can_be_asked_for_something() -> None:
    assert said("@each ^roger", "Roger, hello.", "Roger, Paris.")
    assert not said("@each ^roger", "Hello.", "Roger, Paris.")


def test_numbers_are_read_in_order() -> None:
    assert numbers_in("Seven plus five is twelve, not 1,200 or two hundred and six.") == [7, 5, 12, 1200, 206]


# --- calls ----------------------------------------------------------------------------------------------------


def test_a_call_must_have_its_name_and_its_arguments() -> None:
    wanted = '@call heat {"room": "study|the study", "degrees": 20, "on": true, "days": ["monday"]}'
    arguments = {"room": " The Study ", "degrees": 20.0, "on": True, "days": ["Monday"]}
    assert called(wanted, Call("heat", arguments))
    assert not called(wanted, Call("warm", arguments))
    for wrong in ({"degrees": "20"}, {"degrees": 21}, {"on": 1}, {"days": []}, {"extra": 1}):
        assert not called(wanted, Call("heat", arguments | wrong))
    assert not called(wanted, Call("heat", None))


def test_exactly_the_wanted_calls_must_be_made() -> None:
    both = '@call lamp {"on": true} && @call lamp {"on": false}'
    on, off = Call("lamp", {"on": True}), Call("lamp", {"on": False})
    assert called(both, off, on)
    assert not called(both, on, on)
    assert not called(both, on)
    assert not called("lamp", on)


# --- cases ----------------------------------------------------------------------------------------------------


def test_the_parts_of_a_conversation() -> None:
    parts = read_parts('rain? / > sky {"town": "Bergen"} / < {"wet": true} / ! Yes, it rains. / and here')
    assert [part.role for part in parts] == ["user", "call", "result", "assistant", "user"]
    case = Case("tools", "second call", "here", "", ("sky",), parts)
    assert case.said == ("rain?", "and here")
    (group,) = grouped(parts)
    roles = [(message.role, len(message.calls)) for message in given(group, 0)]
    assert roles == [("user", 0), ("assistant", 1), ("tool", 0), ("assistant", 0), ("user", 0)]


def test_the_model_speaks_wherever_no_words_are_given() -> None:
    groups = list(grouped(read_parts("hello / what is my name / ! It is Ada. / sure?")))
    assert [[part.text for part in group.parts] for group in groups] == [
        ["hello"],
        ["what is my name", "It is Ada.", "sure?"],
    ]
    assert all(group.replies for group in groups)


def test_a_file_may_leave_columns_out(tmp_path: Path) -> None:
    path = tmp_path / "heard-few.tsv"
    path.write_text("wanted\tsaid\nparis\tcapitol of friends\n")
    (case,) = read_file(path)
    assert (case.category, case.aim, case.said) == ("heard-few", "heard", ("capitol of friends",))


def test_without_instructions_of_its_own_a_case_is_asked_under_the_usual_ones_and_under_none() -> None:
    plain = Case("a", "a", "a", "", (), ())
    assert len(asked_under(plain)) == 2
    assert asked_under(plain)[1] is None
    assert asked_under(Case("a", "a", "a", "-", (), ())) == [None]
    assert asked_under(Case("a", "a", "a", "Be brief.", (), ())) == ["Be brief."]


def test_there_are_enough_cases_of_each_aim() -> None:
    count = {aim: sum(case.aim == aim for case in cases()) for aim in ("in-domain", "refusals", "tools")}
    assert count["in-domain"] >= 450
    assert count["refusals"] >= 160
    assert count["tools"] >= 170


def test_the_cases_can_be_judged() -> None:
    for case in cases():
        right(case.wanted, [Reply("Hello."), Reply("Hello.")])
        assert set(case.tools) <= functions().keys(), case
        assert case.parts[-1].role in ("user", "result"), case
        for part in case.parts:
            if part.role == "call":
                name, _, arguments = part.text.partition(" ")
                assert name in case.tools, case
                assert isinstance(json.loads(arguments), dict)


def test_the_wanted_calls_suit_the_functions() -> None:
    for case in cases():
        for term in re.split(" && ", case.wanted):
            if not term.startswith("@call "):
                continue
            name, _, arguments = term.removeprefix("@call ").partition(" ")
            schema = functions()[name]["parameters"]
            given_names = json.loads(arguments).keys()
            assert name in case.tools, case
            assert set(schema.get("required", [])) <= given_names <= schema["properties"].keys(), case


# --- figures --------------------------------------------------------------------------------------------------


def test_figures_say_which_aim_is_missed() -> None:
    case = Case("plain", "capitals", "paris", "", (), (Part("user", "france?"),))
    answers = [Answer(case, None, [Reply("Paris.")], right=True), Answer(case, None, [Reply("Rome.")], right=False)]
    assert "50.0 %" in as_text(answers, None)
    assert "| 1 | 2 |" in as_markdown(answers, None)
    assert json.loads(as_json(answers, None))["percent"]["in-domain"] == 50
    assert len(missed(answers)) == 1
    assert missed(answers[:1]) == []


# --- what is kept from training -------------------------------------------------------------------------------


def test_runs_of_five_words_ignore_case_and_marks() -> None:
    assert list(reserve.grams("What's UP, my old-fashioned friend?")) == [
        ("whats", "up", "my", "old", "fashioned"),
        ("up", "my", "old", "fashioned", "friend"),
    ]
    assert list(reserve.grams("too few words")) == []


def test_what_the_evaluation_says_offends() -> None:
    question = next(text for case in cases() for text in case.said if len(text.split()) > 6)
    assert reserve.offends(f"well {question.upper()}!")
    assert not reserve.offends("hello there")


def test_no_canonical_phrase_is_reserved() -> None:
    for phrase in (
        "what is the capital of france",
        "can you tell me a joke about a cow",
        "how do you spell the word banana please",
        "what is the opposite of the word hot",
        "how many legs does a spider have",
        "what is five plus seven please",
        "what is the weather like today in london",
        "please turn on the lights in the kitchen",
        "my name is anna what is my name",
    ):
        assert not reserve.offends(phrase), phrase


def test_shared_words_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    question = next(text for case in cases() for text in case.said if len(text.split()) == 5)
    found = disjoint.Found()
    found.see(Dialogue([Message("user", "hello"), Message("assistant", question)]))
    assert not found.shared
    found.see(Dialogue([Message("user", question)], tools=[{"name": next(iter(functions()))}]))
    assert disjoint.report(found) is False
    printed = capsys.readouterr().out
    assert " ".join(reserve.spoken_words(question)) in printed
    assert next(iter(functions())) in printed


def test_the_people_of_the_evaluation_are_listed() -> None:
    everything = set(reserve.spoken_words(" ".join(text for case in cases() for text in case.said)))
    everything |= set(reserve.spoken_words(" ".join(f"{case.instructions} {case.wanted}" for case in cases())))
    assert len(names() - everything) <= 2
