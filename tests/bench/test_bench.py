"""`parley bench` against a server that plays a script."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from server.bench import rig
from server.bench.statistics import summary
from server.bench.turn import METRICS
from server.cli import main
from server.cli.wav import write_wav
from tests.cli.fake_server import RATE, Answer, FakeServer, silence, tone

QUESTION = np.concatenate([silence(0.1), tone(0.4), silence(0.3)])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "LEAD_S", 0.05)
    monkeypatch.setattr(rig, "GIVE_UP_S", 10.0)


@pytest.fixture
def question(tmp_path):
    path = tmp_path / "question.wav"
    write_wav(path, QUESTION, RATE)
    return path


def test_it_measures_from_the_end_of_speech_in_the_recording(tmp_path, question, capsys):
    answer = Answer(audio=np.concatenate([silence(0.2), tone(0.3)]), delay_s=0.1)
    files = ["--json", str(tmp_path / "b.json"), "--html", str(tmp_path / "b.html")]
    with FakeServer(answer, answer).running() as server:
        assert main(["bench", "--url", f"here={server.url}", "--in", str(question), "--rounds", "2", *files]) == 0
    (measured,) = json.loads((tmp_path / "b.json").read_text())["servers"]
    summaries = measured["summaries"]
    assert measured["label"] == "here"
    # The script ends a turn by 500 ms of silence, waits 100 ms, and sends 200 ms of silence first.
    assert summaries["end_to_stopped"]["p50"] >= 480
    assert summaries["end_to_audible"]["p50"] >= summaries["end_to_stopped"]["p50"] + 280
    assert summaries["leading_silence"]["p50"] == pytest.approx(200, abs=10)
    assert [turn["transcript"] for turn in measured["turns"]] == ["what time is it"] * 2
    shown = capsys.readouterr().out
    assert re.search(r"turns answered +2 of 2", shown)
    page = (tmp_path / "b.html").read_text()
    assert page.count("<circle") >= 2
    assert not re.search(r"https?://|src=|<script", page), "one file, nothing from elsewhere"


def test_servers_side_by_side_are_asked_in_turn_and_compared_by_a_ratio(question, capsys):
    with FakeServer(Answer()).running() as one, FakeServer(replace(Answer(), delay_s=0.3)).running() as other:
        urls = ["--url", f"one={one.url}", "--url", f"other={other.url}"]
        assert main(["bench", *urls, "--in", str(question), "--rounds", "1"]) == 0
    assert "÷ one" in capsys.readouterr().out
    assert one.received_at[-1] < other.received_at[0]


def test_the_silence_that_ends_a_turn_is_asked_for_and_timings_too(question):
    with FakeServer(Answer()).running() as server:
        assert main(["bench", "--url", server.url, "--in", str(question), "--rounds", "1", "--silence", "200"]) == 0
    (update,) = server.sent("session.update")
    assert update["session"]["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200
    assert server.query["timings"] == "true"


def test_a_failed_turn_is_told_and_the_others_count(question, capsys):
    with FakeServer(Answer(status="failed"), Answer()).running() as server:
        assert main(["bench", "--url", server.url, "--in", str(question), "--rounds", "2"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"turns answered +1 of 2", shown)
    assert "the response is failed" in shown


def test_nothing_answered_is_a_failure(question, capsys):
    with FakeServer(Answer(status="failed")).running() as server:
        assert main(["bench", "--url", server.url, "--in", str(question), "--rounds", "1"]) == 1
    assert "No turn was answered" in capsys.readouterr().err


def test_a_server_that_cannot_be_asked_does_not_stop_the_others(tmp_path, question, capsys):
    with FakeServer(Answer()).running() as refusing, FakeServer(Answer()).running() as other:
        refusing.refuse_connection = "There is no model `x` here."
        urls = ["--url", f"one={refusing.url}", "--url", "two=ws://127.0.0.1:1", "--url", f"three={other.url}"]
        files = ["--json", str(tmp_path / "b.json"), "--html", str(tmp_path / "b.html")]
        assert main(["bench", *urls, "--in", str(question), "--rounds", "1", *files]) == 0
    one, two, three = json.loads((tmp_path / "b.json").read_text())["servers"]
    assert "There is no model `x` here." in one["problem"]
    assert "No server answers at ws://127.0.0.1:1" in two["problem"]
    assert three["problem"] is None
    assert three["summaries"]["end_to_audible"]["count"] == 1
    shown = capsys.readouterr().out
    assert "There is no model" in shown
    assert "No server answers" in (tmp_path / "b.html").read_text()


def test_where_no_server_can_be_asked_the_reason_is_all_that_is_said(question, capsys):
    assert main(["bench", "--url", "ws://127.0.0.1:1", "--in", str(question)]) == 1
    captured = capsys.readouterr()
    assert "No server answers at ws://127.0.0.1:1" in captured.err
    assert captured.out.strip() == ""


def test_a_server_that_refuses_to_be_asked_for_timings_is_measured_without(question):
    with FakeServer(Answer(), Answer()).running() as server:
        server.refuse_query = True
        assert main(["bench", "--url", server.url, "--in", str(question), "--rounds", "2"]) == 0
    assert server.query == {}
    assert server.refused == 1, "it is asked for them once"


def test_rounds_that_warm_up_do_not_count(tmp_path, question):
    with FakeServer(Answer(status="failed"), Answer()).running() as server:
        files = ["--json", str(tmp_path / "b.json")]
        arguments = ["--in", str(question), "--rounds", "1", "--warm-up", "1", *files]
        assert main(["bench", "--url", server.url, *arguments]) == 0
    (measured,) = json.loads((tmp_path / "b.json").read_text())["servers"]
    assert [turn["problem"] for turn in measured["turns"]] == [None]


def test_a_reply_that_was_over_before_the_voice_is_counted_apart(tmp_path, question, capsys):
    with FakeServer(Answer()).running() as server:
        files = ["--json", str(tmp_path / "b.json")]
        assert main(["bench", "--url", server.url, "--in", str(question), "--rounds", "1", "--interrupt", *files]) == 0
    (measured,) = json.loads((tmp_path / "b.json").read_text())["servers"]
    assert [turn["interruption"] for turn in measured["turns"]] == ["over"]
    assert "1 all there before the voice" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--url", "a=ws://h", "--url", "a=ws://g"], "Two servers have one name"),
        (["--in", "none.wav"], "none.wav cannot be read"),
        (["--in", "."], "There is no WAV file in ."),
        (["--html", "no/such/folder.html"], "There is no folder no/such"),
    ],
)
def test_what_is_wrong_with_the_command_is_said(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_silent_recording_asks_nothing(tmp_path, capsys):
    path = tmp_path / "nothing.wav"
    write_wav(path, silence(1.0), RATE)
    assert main(["bench", "--in", str(path)]) == 2
    assert "silent" in capsys.readouterr().err


def test_percentiles_lie_between_neighbours():
    found = summary([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found is not None
    assert (found.count, found.p50, found.p95, found.max) == (5, 3.0, 4.8, 5.0)
    assert summary([]) is None


def test_every_metric_stands_in_the_documentation():
    told = (Path(__file__).parents[2] / "docs" / "bench.md").read_text("utf-8")
    assert [name for name in METRICS if f"| `{name}` |" not in told] == []


def test_all_that_json_has_stands_in_the_documentation(tmp_path, question):
    told = (Path(__file__).parents[2] / "docs" / "bench.md").read_text("utf-8")
    with FakeServer(Answer()).running() as server:
        arguments = ["--in", str(question), "--rounds", "1", "--json", str(tmp_path / "b.json")]
        assert main(["bench", "--url", server.url, *arguments]) == 0
    written = json.loads((tmp_path / "b.json").read_text())
    (measured,) = written["servers"]
    (turn,) = measured["turns"]
    names = [*written, *written["plan"], *measured, *measured["memory"], *(measured["memory"]["busy"] or {}), *turn]
    assert [name for name in names if f"`{name}`" not in told] == []
