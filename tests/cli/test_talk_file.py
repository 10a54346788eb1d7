"""`parley talk --in`: a recording is spoken to the server, and everything it answers is told and kept."""

import os
import re
import signal

import numpy as np
import pytest

from server.cli import main, talk_file
from server.cli.realtime_client import error_text
from server.cli.wav import read_wav, write_wav
from tests.cli.fake_server import RATE, Answer, FakeServer, leaves_no_thread, silence, tone

QUESTION = np.concatenate([silence(0.1), tone(0.5), silence(0.1)])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(talk_file, "NO_SPEECH_S", 0.4)
    monkeypatch.setattr(talk_file, "SETTLE_S", 0.2)
    monkeypatch.setattr(talk_file, "STALL_S", 5.0)


@pytest.fixture
def question(tmp_path):
    path = tmp_path / "question.wav"
    write_wav(path, QUESTION, RATE)
    return path


def talk(server, question, *more):
    return main(["talk", "--url", server.url, "--in", str(question), *more])


def test_a_question_is_answered_into_a_file_and_both_transcripts_are_printed(tmp_path, question, capsys):
    answer = Answer(audio=tone(0.3, level=5000))
    with FakeServer(answer).running() as server:
        assert talk(server, question, "--out", str(tmp_path / "answer.wav")) == 0
    samples, rate = read_wav(tmp_path / "answer.wav")
    assert rate == 24_000
    assert samples.tolist() == answer.audio.tolist()
    said = capsys.readouterr().out
    assert re.search(r"^you +what time is it$", said, re.M)
    assert re.search(r"^parley +It is three o'clock\.$", said, re.M)
    assert re.search(r"^ +answer +0\.3 s of sound$", said, re.M)


def test_a_recording_of_another_rate_reaches_the_server_at_24_khz_in_frames_of_20_ms(tmp_path):
    path = tmp_path / "question.wav"
    write_wav(path, np.concatenate([tone(0.5, rate=44_100), silence(0.2, rate=44_100)]), 44_100)
    with FakeServer(Answer()).running() as server:
        assert talk(server, path, "--fast") == 0
    frames = server.sent("input_audio_buffer.append")
    assert {len(frame["audio"]) for frame in frames[:35]} == {480 * 2 * 4 // 3}
    loud = np.flatnonzero(np.abs(server.sound) > 500)
    assert (loud[-1] - loud[0]) / RATE == pytest.approx(0.5, abs=0.01)


def test_the_recording_is_sent_in_real_time(question):
    with FakeServer(Answer()).running() as server:
        assert talk(server, question) == 0
    at = [
        moment
        for event, moment in zip(server.received, server.received_at, strict=True)
        if event["type"] == "input_audio_buffer.append"
    ]
    assert 0.66 <= at[34] - at[0] < 1.5


def test_fast_does_not_wait(question):
    with FakeServer(Answer()).running() as server:
        assert talk(server, question, "--fast") == 0
    at = server.received_at
    assert at[34] - at[1] < 0.5


def test_timings_count_from_where_the_energy_of_the_speech_ends(question, capsys):
    with FakeServer(Answer(delay_s=0.3)).running() as server:
        assert talk(server, question) == 0
    said = capsys.readouterr().out
    assert float(re.search(r"([\d.]+) s into the recording", said)[1]) == pytest.approx(0.6, abs=0.02)
    ms = {name: int(value) for name, value in re.findall(r"^ +([a-z][a-z_. ]+?) +(\d+)$", said, re.M)}
    assert list(ms) == ["speech_stopped", "transcript", "first text", "first audio", "response.done"]
    assert 480 <= ms["speech_stopped"] < 900
    assert 299 <= ms["first audio"] - ms["transcript"] < 700


def test_every_utterance_of_a_recording_is_waited_for_and_told(tmp_path, capsys):
    path, out = tmp_path / "two.wav", tmp_path / "answer.wav"
    write_wav(path, np.concatenate([tone(0.3), silence(0.6), tone(0.3)]), RATE)
    first = Answer(heard="good morning", words=("Hello.",), audio=tone(0.2))
    second = Answer(heard="and good night", words=("Sleep well.",), audio=tone(0.4), delay_s=0.5)
    with FakeServer(first, second).running() as server:
        assert talk(server, path, "--out", str(out)) == 0
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if line.startswith(("you", "parley"))]
    assert [line.split(maxsplit=1)[1] for line in lines] == ["good morning", "Hello.", "and good night", "Sleep well."]
    assert said.count("s into the recording") == 2
    pause = talk_file.BETWEEN_ANSWERS_S
    assert len(read_wav(out)[0]) / RATE == pytest.approx(0.2 + pause + 0.4)


def test_the_session_is_asked_for_transcripts_and_not_to_be_interrupted_by_the_file(question):
    with FakeServer(Answer()).running() as server:
        assert talk(server, question, "--fast", "--voice", "alloy", "--instructions", "Be brief.", "--model", "m") == 0
    update = server.received[0]
    assert update["type"] == "session.update"
    session = update["session"]
    assert session["type"] == "realtime"
    assert session["instructions"] == "Be brief."
    assert session["audio"]["output"] == {"voice": "alloy"}
    assert session["audio"]["input"]["transcription"] == {"model": "whisper-1"}
    detection = session["audio"]["input"]["turn_detection"]
    assert detection == {"type": "server_vad", "threshold": 0.5, "create_response": True, "interrupt_response": False}
    assert server.query == {"model": "m"}


# --- what goes wrong ---


def failed(code, capsys, *says):
    """Whether it ended with 1 and one plain message that has all of `says` in it."""
    error = capsys.readouterr().err
    assert code == 1
    assert "Traceback" not in error
    for part in says:
        assert part in error
    return True


def test_no_server_means_the_command_that_starts_one(question, capsys):
    code = main(["talk", "--url", "ws://127.0.0.1:1/v1/realtime", "--in", str(question)])
    assert failed(code, capsys, "No server answers", "make serve")


def test_a_refused_connection_says_the_servers_reason(question, capsys):
    server = FakeServer()
    server.refuse_connection = "There is no model `x` here."
    with server.running():
        code = talk(server, question)
    assert failed(code, capsys, "404", "There is no model `x` here.")


def test_a_refused_voice_says_the_servers_reason(question, capsys):
    server = FakeServer()
    server.refuse_update = "There is no voice 'x'."
    with server.running():
        code = talk(server, question, "--voice", "x")
    assert failed(code, capsys, "There is no voice 'x'.")


def test_a_silent_recording_says_so_and_how_loud_it_is(tmp_path, capsys):
    path = tmp_path / "silent.wav"
    write_wav(path, silence(0.3), RATE)
    with FakeServer().running() as server:
        code = talk(server, path)
    assert failed(code, capsys, "heard no speech", "-100 dB")


def test_what_is_no_recording_is_a_wrong_command(tmp_path, capsys):
    path = tmp_path / "notes.txt"
    path.write_text("not a sound")
    assert main(["talk", "--in", str(path)]) == 2
    assert "not a WAV file" in capsys.readouterr().err


def test_nothing_understood_is_a_failure_and_writes_no_file(tmp_path, question, capsys):
    with FakeServer(Answer(heard="", words=(), audio=tone(0))).running() as server:
        code = talk(server, question, "--out", str(tmp_path / "answer.wav"))
    assert failed(code, capsys, "Nothing was understood")
    assert not (tmp_path / "answer.wav").exists()


def test_an_answer_without_sound_is_told_but_no_file(tmp_path, question, capsys):
    with FakeServer(Answer(audio=tone(0))).running() as server:
        code = talk(server, question, "--out", str(tmp_path / "answer.wav"))
    captured = capsys.readouterr()
    assert code == 1
    assert "It is three o'clock." in captured.out
    assert "no sound" in captured.err
    assert not (tmp_path / "answer.wav").exists()


def test_a_failed_response_is_a_failure_that_says_why_and_writes_no_file(tmp_path, question, capsys):
    with FakeServer(Answer(status="failed")).running() as server:
        code = talk(server, question, "--out", str(tmp_path / "answer.wav"))
    captured = capsys.readouterr()
    assert code == 1
    assert "llm_failed" in captured.out
    assert "A response failed" in captured.err
    assert [file.name for file in tmp_path.iterdir()] == ["question.wav"]


def test_a_server_that_goes_away_in_the_middle_is_a_failure(question, capsys):
    server = FakeServer(Answer())
    server.hang_up_after_appends = 10
    with server.running():
        code = talk(server, question)
    assert failed(code, capsys, "has gone away")


def test_a_server_that_never_answers_is_given_up(question, capsys, monkeypatch):
    monkeypatch.setattr(talk_file, "STALL_S", 0.3)
    with FakeServer(Answer(delay_s=30)).running() as server:
        code = talk(server, question)
    assert failed(code, capsys, "said nothing for 0.3 s")


def test_the_answer_may_not_replace_the_question(question, capsys):
    before = question.read_bytes()
    assert main(["talk", "--in", str(question), "--out", str(question)]) == 2
    assert "same file" in capsys.readouterr().err
    assert question.read_bytes() == before


def test_ctrl_c_in_the_middle_ends_with_130_and_writes_no_file(tmp_path, capsys):
    path = tmp_path / "long.wav"
    write_wav(path, tone(20.0), RATE)
    server = FakeServer(Answer())
    server.on_append = lambda count: os.kill(os.getpid(), signal.SIGINT) if count == 5 else None
    with leaves_no_thread(), server.running():
        assert talk(server, path, "--out", str(tmp_path / "answer.wav")) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["long.wav"]


def test_an_error_event_without_a_message_still_says_something():
    assert error_text({"type": "error", "error": {"code": "odd"}}) == "odd"
    assert error_text({"type": "error"})
