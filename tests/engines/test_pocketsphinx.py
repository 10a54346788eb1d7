"""What the engine `pocketsphinx` promises."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import EngineError, StageError
from pipeline.transcription.pocketsphinx import PocketSphinx, PocketSphinxStream, clean
from pipeline.types import Pcm16
from tests.speech import UNDERSTOOD, say, silence, utterance, word_errors

PATIENCE_S = 20.0

Listen = Callable[[], PocketSphinxStream]


@pytest.fixture(scope="module")
def engine() -> Iterator[PocketSphinx]:
    engine = PocketSphinx(PocketSphinx.Options(decoders=2))
    engine.warm_up()
    yield engine
    engine.close()


def processes(parent: int) -> list[int]:
    """Returns the children of a process, zombies included."""
    with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True) as ps:
        table, _ = ps.communicate()
    rows = (tuple(map(int, line.split())) for line in table.splitlines())
    return [pid for pid, ppid in rows if ppid == parent and pid != ps.pid]


def lives(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def decoders(engine: PocketSphinx) -> list[int]:
    return processes(engine._host.pid)


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def listen(engine: PocketSphinx) -> Iterator[Listen]:
    """Opens streams, and closes them when the test is over, whatever became of it."""
    streams: list[PocketSphinxStream] = []

    def listen() -> PocketSphinxStream:
        streams.append(engine.open())
        return streams[-1]

    yield listen
    for stream in streams:
        stream.close()


def begin(stream: PocketSphinxStream) -> None:
    """Begins an utterance, and waits until its process is there."""
    stream.feed(silence(0.1))
    stream.hypothesis()


def mean(stream: PocketSphinxStream) -> NDArray[np.float64]:
    return np.array([float(number) for number in stream._mean.split(",")])


def transcribe(engine: PocketSphinx, sound: Pcm16) -> str:
    stream = engine.open()
    stream.feed(sound)
    return stream.finish().text


def test_understands_speech(engine: PocketSphinx) -> None:
    errors = [word_errors(text, transcribe(engine, utterance(text))) for text in UNDERSTOOD]
    assert sum(errors) <= 2, errors


def test_a_transcript_counts_its_words(engine: PocketSphinx, listen: Listen) -> None:
    stream = listen()
    stream.feed(utterance("who made you"))
    transcript = stream.finish()
    assert transcript.tokens == len(transcript.text.split()) > 0
    assert transcript.language == "en"


def test_the_lattice_tells_the_probability_of_each_word_and_without_it_none_is_told(
    engine: PocketSphinx, listen: Listen
) -> None:
    sound = utterance("turn on the kitchen lights")
    plain = listen()
    plain.feed(sound)
    assert not engine.capabilities.log_probabilities
    assert plain.finish().token_log_probabilities == ()
    able = PocketSphinx(PocketSphinx.Options(decoders=1, bestpath=True))
    try:
        assert able.capabilities.log_probabilities
        stream = able.open()
        stream.feed(sound)
        assert stream.hypothesis().token_log_probabilities == (), "there is no lattice before the end"
        transcript = stream.finish()
        tokens = transcript.token_log_probabilities
        assert "".join(token.text for token in tokens) == transcript.text
        assert all(-5 < token.log_probability <= 0 for token in tokens)
        assert any(token.log_probability < 0 for token in tokens)
        assert stream.finish().token_log_probabilities == ()
    finally:
        able.close()


def test_silence_is_an_empty_transcript(engine: PocketSphinx, listen: Listen) -> None:
    assert transcribe(engine, np.zeros(16_000, np.int16)) == ""
    assert listen().finish().text == ""
    assert listen().hypothesis().text == ""


def test_understands_while_the_user_speaks(engine: PocketSphinx, listen: Listen) -> None:
    sound = utterance("turn on the kitchen lights")
    stream = listen()
    stream.feed(sound[: len(sound) * 2 // 3])
    assert "on the kitchen" in stream.hypothesis().text
    stream.feed(sound[len(sound) * 2 // 3 :])
    assert word_errors("turn on the kitchen lights", stream.hypothesis().text) <= 1
    stream.discard()


def test_neither_the_cutting_of_the_sound_nor_hypotheses_change_the_transcript(
    engine: PocketSphinx, listen: Listen
) -> None:
    sound = utterance("turn on the kitchen lights")
    whole = listen()
    whole.feed(sound)
    cut = listen()
    for start in range(0, len(sound), 777):
        cut.feed(sound[start : start + 777])
        cut.hypothesis()
    assert cut.finish() == whole.finish()
    assert cut._mean == whole._mean


def test_a_session_does_not_depend_on_who_spoke_before_in_another(engine: PocketSphinx, listen: Listen) -> None:
    def spoken() -> tuple[str, str]:
        stream = listen()
        stream.feed(sound)
        return stream.finish().text, stream._mean

    sound = utterance("what is your name")
    before = spoken()
    transcribe(engine, (utterance("turn on the kitchen lights") * 2.5).astype(np.int16))
    assert spoken() == before


def test_a_session_keeps_the_cepstral_mean_of_its_speaker(engine: PocketSphinx, listen: Listen) -> None:
    session, stranger = listen(), listen()
    session.feed(utterance("turn on the kitchen lights"))
    session.finish()
    learned = mean(session)
    for stream in (session, stranger):
        stream.feed(silence(0.1))  # too short to change it much
        stream.finish()
    assert np.abs(mean(session) - learned).max() < 3
    assert np.abs(mean(session) - mean(stranger)).max() > 2


def test_a_coloured_microphone_is_understood_from_the_first_utterance_on(listen: Listen) -> None:
    sound = utterance("what is your name").astype(np.float32)
    thin = np.convolve(sound, [1, -0.9]).astype(np.int16)
    stream = listen()
    stream.feed(thin)
    assert word_errors("what is your name", stream.finish().text) <= 1


def test_a_discarded_utterance_leaves_nothing_behind(engine: PocketSphinx, listen: Listen) -> None:
    stream = listen()
    stream.feed(utterance("turn on the kitchen lights"))
    stream.discard()
    assert stream.hypothesis().text == ""
    sound = utterance("what is your name")
    stream.feed(sound)
    assert stream.finish().text == transcribe(engine, sound)


def test_sessions_decode_at_the_same_time(engine: PocketSphinx, listen: Listen) -> None:
    first, second = listen(), listen()
    sounds = utterance("who made you"), utterance("what is your name")
    for start in range(0, max(map(len, sounds)), 1600):
        first.feed(sounds[0][start : start + 1600])
        second.feed(sounds[1][start : start + 1600])
    first.hypothesis(), second.hypothesis()
    assert len(decoders(engine)) == 2
    assert word_errors("who made you", first.finish().text) <= 1
    assert word_errors("what is your name", second.finish().text) <= 1


def test_feeding_does_not_wait_for_decoding(engine: PocketSphinx, listen: Listen) -> None:
    stream = listen()
    began = time.monotonic()
    stream.feed(utterance("turn on the kitchen lights"))
    fed = time.monotonic() - began
    stream.hypothesis()
    assert fed < (time.monotonic() - began) / 2
    stream.discard()


def test_an_utterance_waits_for_a_free_decoder(engine: PocketSphinx, listen: Listen) -> None:
    busy = [listen(), listen()]
    for stream in busy:
        begin(stream)
    heard: list[str] = []
    waiting = threading.Thread(target=lambda: heard.append(transcribe(engine, utterance("who made you"))))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    busy[0].discard()
    waiting.join(PATIENCE_S)
    assert word_errors("who made you", heard[0]) <= 1
    busy[1].close()


def test_closing_ends_the_wait_for_a_decoder(engine: PocketSphinx, listen: Listen) -> None:
    busy = [listen(), listen()]
    for stream in busy:
        begin(stream)
    waiting = listen()
    problem = in_thread(lambda: waiting.feed(silence(0.1)))
    began = time.monotonic()
    waiting.close()
    assert "closed" in str(problem())
    assert time.monotonic() - began < 5  # it would have waited for 10
    for stream in busy:
        stream.close()
    assert transcribe(engine, silence(0.1)) == ""  # no place was lost


def stop(process: int) -> None:
    """Stops a process and waits until it has stopped: the signal alone may come after its next answer."""
    os.kill(process, signal.SIGSTOP)
    stat = Path(f"/proc/{process}/stat")
    if stat.exists():
        assert eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
    else:
        time.sleep(0.2)


def in_thread(call: Callable[[], object]) -> Callable[[], BaseException | None]:
    """Starts a call and gives it time to block. Returns what waits for its end and returns what it raised."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
            raised.append(None)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(0.2)

    def outcome() -> BaseException | None:
        thread.join(PATIENCE_S)
        return raised[0]

    return outcome


def test_closing_from_another_thread_ends_a_blocked_call(engine: PocketSphinx, listen: Listen) -> None:
    stream = listen()
    begin(stream)
    (process,) = decoders(engine)
    stop(process)  # a decoder that hangs
    problem = in_thread(stream.hypothesis)
    stream.close()
    stream.close()
    assert isinstance(problem(), StageError)
    assert eventually(lambda: not decoders(engine))


def test_closing_from_another_thread_ends_a_blocked_feed(engine: PocketSphinx, listen: Listen) -> None:
    stream = listen()
    begin(stream)
    (process,) = decoders(engine)
    stop(process)
    problem = in_thread(lambda: stream.feed(np.zeros(16_000 * 120, np.int16)))  # more than any pipe holds
    stream.close()
    assert isinstance(problem(), StageError)


@pytest.mark.parametrize("call", ["hypothesis", "finish"])
def test_a_killed_decoder_fails_its_utterance_and_not_the_next(engine: PocketSphinx, listen: Listen, call: str) -> None:
    stream = listen()
    begin(stream)
    (process,) = decoders(engine)
    os.kill(process, signal.SIGKILL)
    with pytest.raises(StageError, match="died") as caught:
        getattr(stream, call)()
    assert caught.value.stage == "transcription"
    assert eventually(lambda: not decoders(engine))  # not even as a zombie
    stream.feed(utterance("who made you"))
    assert word_errors("who made you", stream.finish().text) <= 1


def test_a_killed_host_is_started_again() -> None:
    engine = PocketSphinx(PocketSphinx.Options(decoders=1))
    first = engine._host.pid
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: not lives(first))
    assert word_errors("who made you", transcribe(engine, utterance("who made you"))) <= 1
    assert engine._host.pid != first
    assert first not in processes(os.getpid())
    engine.close()


def test_an_utterance_under_way_outlives_the_host_and_others_follow_it() -> None:
    engine = PocketSphinx(PocketSphinx.Options(decoders=2))
    stream, sound = engine.open(), utterance("who made you")
    stream.feed(sound[:8000])
    stream.hypothesis()
    host = engine._host.pid
    os.kill(host, signal.SIGKILL)
    assert eventually(lambda: not lives(host))
    assert word_errors("who made you", transcribe(engine, sound)) <= 1
    stream.feed(sound[8000:])
    assert word_errors("who made you", stream.finish().text) <= 1
    engine.close()


def test_closing_ends_a_blocked_call_though_the_host_is_dead() -> None:
    engine = PocketSphinx(PocketSphinx.Options(decoders=1))
    stream = engine.open()
    begin(stream)
    (process,) = decoders(engine)
    host = engine._host.pid
    os.kill(host, signal.SIGKILL)
    assert eventually(lambda: not lives(host))
    stop(process)  # after the host's end, which may make the system continue what was stopped
    problem = in_thread(stream.hypothesis)
    stream.close()
    assert isinstance(problem(), StageError)
    os.kill(process, signal.SIGKILL)
    engine.close()


def test_nothing_is_left_after_close() -> None:
    descriptors, children = len(os.listdir("/dev/fd")), processes(os.getpid())
    engine = PocketSphinx(PocketSphinx.Options(decoders=3))
    streams = [engine.open() for _ in range(3)]
    for stream in streams:
        begin(stream)
    started = [engine._host.pid, *decoders(engine)]
    assert len(started) == 4
    streams[0].finish()
    streams[1].close()
    engine.close()  # with an utterance under way
    streams[2].close()
    assert eventually(lambda: not any(map(lives, started)))
    assert processes(os.getpid()) == children
    assert len(os.listdir("/dev/fd")) == descriptors


def test_utterances_leave_no_process_and_no_descriptor(engine: PocketSphinx, listen: Listen) -> None:
    descriptors = len(os.listdir("/dev/fd"))
    stream = listen()
    for _ in range(5):
        stream.feed(silence(0.1))
        stream.finish()
        stream.feed(silence(0.1))
        stream.discard()
    assert eventually(lambda: not decoders(engine))
    assert len(os.listdir("/dev/fd")) == descriptors


def test_processes_end_when_parley_is_killed() -> None:
    parley = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert parley.stdout is not None
    host = int(parley.stdout.readline())
    started = [host, *processes(host)]
    assert len(started) == 2
    parley.kill()
    parley.wait()
    parley.stdout.close()
    assert eventually(lambda: not any(map(lives, started)))


KILLED = """
import time
import numpy as np
from pipeline.transcription.pocketsphinx import PocketSphinx
engine = PocketSphinx(PocketSphinx.Options())
stream = engine.open()
stream.feed(np.zeros(1600, np.int16))
stream.hypothesis()
print(engine._host.pid, flush=True)
time.sleep(60)
"""


def test_missing_model_files_name_their_option(tmp_path: Path) -> None:
    (tmp_path / "mdef").touch()
    (tmp_path / "words.dict").touch()
    given = {"hmm": str(tmp_path), "lm": str(tmp_path / "none.lm"), "dict": str(tmp_path / "words.dict")}
    for option, broken in (
        ("lm", given),
        ("lm", {**given, "lm": None}),
        ("hmm", {**given, "hmm": str(tmp_path / "none")}),
    ):
        with pytest.raises(EngineError) as caught:
            PocketSphinx(PocketSphinx.Options(**broken))
        assert caught.value.option == option


def test_a_model_that_cannot_be_loaded_stops_the_start(tmp_path: Path) -> None:
    children = processes(os.getpid())
    for name in ("mdef", "some.lm", "words.dict"):
        (tmp_path / name).touch()
    with pytest.raises(EngineError, match="cannot load its model"):
        PocketSphinx(
            PocketSphinx.Options(hmm=str(tmp_path), lm=str(tmp_path / "some.lm"), dict=str(tmp_path / "words.dict"))
        )
    assert processes(os.getpid()) == children


def test_markers_are_not_words() -> None:
    assert clean("<s> what(2) time <sil> [NOISE] is ++UH++ it </s>") == "what time is it"
    assert clean("") == ""


# --- pauses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ms", [60, 134])
@pytest.mark.parametrize("text", ["turn on the kitchen lights", "tell me a story about a dog", "stop", "good morning"])
def test_what_is_understood_in_a_pause_is_the_transcript_if_the_utterance_ends_there(
    listen: Listen, text: str, ms: int
) -> None:
    """Before its end PocketSphinx understands something else of some of these."""
    sound = np.concatenate([silence(0.3), say(text), silence(ms / 1000)])
    asked, unasked = listen(), listen()
    asked.feed(sound)
    understood = asked.pause()
    assert asked.pause() == understood
    unasked.feed(sound)
    assert understood == asked.finish() == unasked.finish()
    assert asked._mean == unasked._mean


def test_a_pause_in_which_something_was_asked_changes_nothing_of_what_is_said_after_it(listen: Listen) -> None:
    parts = [np.concatenate([silence(0.3), say(text), silence(0.1)]) for text in UNDERSTOOD[:2]]
    asked, unasked = listen(), listen()
    for stream in (asked, unasked):
        stream.feed(parts[0][:-77])
        if stream is asked:
            stream.pause()
        stream.feed(parts[0][-77:])
        stream.feed(parts[1])
    assert asked.finish() == unasked.finish()
    assert asked._mean == unasked._mean


def test_the_copy_that_tries_out_the_end_is_gone_when_it_has_said_so(engine: PocketSphinx, listen: Listen) -> None:
    stream = listen()
    begin(stream)
    (decoder,) = decoders(engine)
    stream.feed(utterance("who made you"))
    stream.pause()
    assert eventually(lambda: not processes(decoder))
