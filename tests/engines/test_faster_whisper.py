"""What the engine `faster-whisper` promises, on a tiny Whisper that was trained for it (scripts/make_test_models)."""

import functools
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ctranslate2
import faster_whisper
import numpy as np
import pytest

from pipeline.errors import StageError
from pipeline.transcription.faster_whisper import FasterWhisper
from pipeline.transcription.whisper_stream import WhisperStream
from pipeline.transcription.whisper_window import split
from pipeline.tts.espeak_ng import EspeakNg
from pipeline.types import LISTENING_RATE, Pcm16, SpeechRequest, Transcript
from pipeline.workers import CancelToken
from tests.engines.whisper import KNOWN, WEIGHTS, Spy, make, transcribe
from tests.speech import say, silence, utterance, word_errors

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def engine() -> Iterator[FasterWhisper]:
    # Its results are always the same: the sentences come again and again, for which another temperature would be tried.
    engine = make(compute_type="float32", threads=1, temperature=0)
    engine.warm_up()
    yield engine
    engine.close()


@pytest.fixture
def spy(engine: FasterWhisper, monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(engine, monkeypatch)


def german(text: str) -> Pcm16:
    speaker = EspeakNg(EspeakNg.Options(voice="de+klatt4", words_per_minute=130))
    chunks = np.concatenate(list(speaker.synthesize(SpeechRequest(text), CancelToken())))
    at = np.arange(0, len(chunks) - 1, speaker.rate / LISTENING_RATE)
    voice = np.interp(at, np.arange(len(chunks)), chunks) * 0.3
    return np.concatenate([silence(0.3), voice.astype(np.int16) + silence(len(voice) / LISTENING_RATE), silence(0.3)])


def heard(transcript: Transcript) -> tuple[object, ...]:
    """Returns what must not depend on anything but the sound; probabilities do on how threads share the work."""
    return transcript.text, transcript.language, tuple((each.start, each.end) for each in transcript.segments)


@functools.cache
def speech(count: int) -> tuple[Pcm16, tuple[tuple[str, float, float], ...]]:
    """Returns sentences with pauses between them, and for each its text, and when it begins and ends."""
    parts, spoken, at = [silence(0.3)], [], 0.3
    for number in range(count):
        text = KNOWN[number % len(KNOWN)]
        voice, pause = say(text), silence(0.5 + number % 3 * 0.3)
        spoken.append((text, at, at + len(voice) / LISTENING_RATE))
        at += (len(voice) + len(pause)) / LISTENING_RATE
        parts += [voice, pause]
    return np.concatenate(parts), tuple(spoken)


# --- words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", KNOWN)
def test_transcribes_word_for_word(engine: FasterWhisper, text: str) -> None:
    transcript = transcribe(engine, utterance(text))
    assert transcript.text == text
    assert transcript.tokens >= len(text.split())
    assert transcript.language == "en"


def test_the_weights_work_in_the_library_itself() -> None:
    model = faster_whisper.WhisperModel(str(WEIGHTS), device="cpu")
    segments, info = model.transcribe(utterance("what is your name").astype(np.float32) / 32768, beam_size=1)
    assert [segment.text for segment in segments] == [" what is your name"]
    assert info.language == "en"


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(0, np.int16),
        np.zeros(16_000, np.int16),
        silence(0.05),
        silence(3),
        silence(12),
        np.random.default_rng(1).normal(0, 3000, 48_000).astype(np.int16),
        (np.sin(np.arange(32_000) * 0.17) * 8000).astype(np.int16),
    ],
    ids=["nothing", "zeros", "a click", "a room", "a room for long", "noise", "a tone"],
)
def test_silence_and_noise_are_an_empty_transcript(engine: FasterWhisper, sound: Pcm16) -> None:
    assert transcribe(engine, sound) == Transcript("")


def test_what_is_too_short_for_a_word_is_not_read(engine: FasterWhisper, spy: Spy) -> None:
    assert transcribe(engine, utterance("who made you")[8000:9500]) == Transcript("")
    assert spy.frames == []


def test_nothing_fed_is_an_empty_transcript(engine: FasterWhisper) -> None:
    assert engine.open().hypothesis() == Transcript("")
    assert engine.open().finish() == Transcript("")


def test_recognises_the_language(engine: FasterWhisper) -> None:
    transcript = transcribe(engine, german("wie heißt du"))
    assert (transcript.text, transcript.language) == ("wie heißt du", "de")


def test_the_language_is_recognised_from_the_encoding_that_is_decoded(engine: FasterWhisper, spy: Spy) -> None:
    assert transcribe(engine, utterance("who made you")).language == "en"
    assert len(spy.frames) == 1


def test_a_language_that_is_asked_for_is_not_recognised(engine: FasterWhisper) -> None:
    sound = utterance("who made you")
    transcript = transcribe(engine, sound, language="de-AT")
    assert (transcript.text, transcript.language) == ("wer hat dich gemacht", "de")
    set_to_german = make(language="de")
    assert transcribe(set_to_german, sound).text == "wer hat dich gemacht"
    assert transcribe(set_to_german, sound, language="en").text == "who made you"


def test_the_style_of_a_prompt_is_taken_up(engine: FasterWhisper) -> None:
    sound, prompt = utterance("what is your name"), "Thank you very much. Good morning."
    assert transcribe(engine, sound, prompt=prompt).text == "What is your name?"
    prompted = make(prompt=prompt)
    assert transcribe(prompted, sound).text == "What is your name?"
    assert transcribe(prompted, sound, prompt="").text == "what is your name"


def test_a_prompt_may_be_longer_than_the_model_takes(engine: FasterWhisper) -> None:
    prompt = "Thank you very much. Good morning. " * 100
    assert transcribe(engine, utterance("tell me a joke"), prompt=prompt).text.lower().startswith("tell me a joke")


# --- the window -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "seconds", "frames"), [(10, 2, 1000), (30, 2, 3000), (5, 2, 500), (10, 12, 1250)])
def test_the_encoder_sees_the_utterance_and_no_less_than_the_window(
    monkeypatch: pytest.MonkeyPatch, window: int, seconds: int, frames: int
) -> None:
    engine = make(window=window)
    spy = Spy(engine, monkeypatch)
    transcribe(engine, silence(seconds))
    assert spy.frames == [frames]


@pytest.mark.parametrize("window", [10, 17.5, 30])
def test_understands_in_windows_of_every_length(window: float) -> None:
    engine = make(window=window)
    assert [transcribe(engine, utterance(text)).text for text in KNOWN[:4]] == list(KNOWN[:4])


def test_a_window_changes_nothing_for_others(engine: FasterWhisper) -> None:
    extractor = engine._reader._model.feature_extractor
    before = dict(vars(extractor))
    transcribe(engine, utterance("who made you"))
    assert vars(extractor) == before


# --- what a transcript carries --------------------------------------------------------------------------------


def test_segments_tell_when_and_how_surely(engine: FasterWhisper) -> None:
    sound, spoken = speech(3)
    transcript = transcribe(engine, sound)
    assert [segment.text for segment in transcript.segments] == [text for text, _, _ in spoken]
    for segment, (_, start, end) in zip(transcript.segments, spoken, strict=True):
        assert abs(segment.start - start) < 0.3
        assert abs(segment.end - end) < 0.3
        assert segment.log_probability is not None
        assert -1 < segment.log_probability < 0
        assert segment.words == ()


def test_tokens_tell_how_sure_they_are(engine: FasterWhisper) -> None:
    transcript = transcribe(engine, utterance("how are you today"))
    tokens = transcript.token_log_probabilities
    assert "".join(token.text for token in tokens).strip() == transcript.text
    assert all(-5 < token.log_probability < 0 for token in tokens)
    assert transcript.segments[0].log_probability == pytest.approx(np.mean([each.log_probability for each in tokens]))
    assert engine.capabilities.log_probabilities


def test_words_carry_times(engine: FasterWhisper) -> None:
    sound, spoken = speech(2)
    transcript = transcribe(engine, sound, word_times=True)
    assert [" ".join(word.text for word in segment.words) for segment in transcript.segments] == [
        text for text, _, _ in spoken
    ]
    for segment, (_, start, end) in zip(transcript.segments, spoken, strict=True):
        times = [time for word in segment.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert segment.start <= times[0]
        assert times[-1] <= segment.end
        assert abs(times[0] - start) < 0.35
        middles = [(word.start + word.end) / 2 for word in segment.words]
        assert middles == sorted(set(middles))
        assert middles[-1] - middles[0] > 0.4 * (end - start)
        assert all(word.log_probability is not None and -6 < word.log_probability <= 0 for word in segment.words)


def test_punctuation_belongs_to_its_word(engine: FasterWhisper) -> None:
    transcript = transcribe(engine, utterance("what is your name"), prompt="Good morning.", word_times=True)
    assert [word.text for word in transcript.segments[0].words] == ["What", "is", "your", "name?"]


def test_the_option_word_times_asks_always() -> None:
    assert transcribe(make(word_times=True), utterance("who made you")).segments[0].words


@pytest.mark.parametrize("beam_size", [2, 5])
def test_a_beam_finds_the_same_words_without_probabilities_of_tokens(
    monkeypatch: pytest.MonkeyPatch, beam_size: int
) -> None:
    engine = make(beam_size=beam_size)
    spy = Spy(engine, monkeypatch)
    transcript = transcribe(engine, utterance("tell me a joke"), word_times=True)
    assert transcript.text == "tell me a joke"
    assert transcript.token_log_probabilities == ()
    assert transcript.segments[0].log_probability is not None
    assert transcript.segments[0].words[0].log_probability is not None
    assert not engine.capabilities.log_probabilities
    assert spy.beam_sizes == {beam_size}


@pytest.mark.parametrize("compute_type", ["default", "auto", *sorted(ctranslate2.get_supported_compute_types("cpu"))])
def test_understands_with_every_compute_type(compute_type: str) -> None:
    assert transcribe(make(compute_type=compute_type), utterance("who made you")).text == "who made you"


def test_the_compute_type_is_what_is_computed_with() -> None:
    assert make(compute_type="float32")._reader._model.model.compute_type == "float32"
    assert make()._reader._model.model.compute_type != "float32"


# --- while the user speaks ------------------------------------------------------------------------------------


def test_finish_costs_nothing_after_a_hypothesis(engine: FasterWhisper, spy: Spy) -> None:
    stream = engine.open()
    stream.feed(utterance("who made you"))
    hypothesis = stream.hypothesis()
    assert stream.hypothesis() == hypothesis
    assert stream.finish() == hypothesis
    assert hypothesis.text == "who made you"
    assert spy.decoded == 1


def test_what_is_fed_after_a_hypothesis_counts(engine: FasterWhisper) -> None:
    sound = utterance("turn on the kitchen lights")
    stream = engine.open()
    stream.feed(sound[: len(sound) // 2])
    assert "turn on the kitchen lights".startswith(stream.hypothesis().text)
    stream.feed(sound[len(sound) // 2 :])
    assert stream.finish().text == "turn on the kitchen lights"


def test_feeding_computes_nothing(engine: FasterWhisper, spy: Spy) -> None:
    stream = engine.open()
    for _ in range(29):
        stream.feed(silence(1))
    assert spy.frames == []


def test_the_cutting_of_the_sound_changes_nothing(engine: FasterWhisper) -> None:
    sound = utterance("what is your name")
    stream = engine.open()
    for start in range(0, len(sound), 777):
        stream.feed(sound[start : start + 777])
    assert heard(stream.finish()) == heard(transcribe(engine, sound))


def test_what_is_fed_may_change_afterwards(engine: FasterWhisper) -> None:
    stream, buffer = engine.open(), utterance("who made you").copy()
    stream.feed(buffer)
    buffer[:] = 0
    assert stream.finish().text == "who made you"


def test_utterances_of_a_stream_have_nothing_to_do_with_each_other(engine: FasterWhisper) -> None:
    stream = engine.open()
    stream.feed(utterance("tell me a joke"))
    stream.finish()
    stream.feed(utterance("count to ten"))
    stream.discard()
    assert stream.hypothesis() == Transcript("")
    stream.feed(utterance("who made you"))
    assert heard(stream.finish()) == heard(transcribe(engine, utterance("who made you")))


def test_partials_say_how_often_a_hypothesis_is_worth_it() -> None:
    assert make().capabilities.partial_s == 1.0
    assert make(partials=2.5).capabilities.partial_s == 2.5
    assert make(partials=0).capabilities.partial_s is None


# --- long speech ----------------------------------------------------------------------------------------------


def test_long_speech_is_complete_and_in_order(engine: FasterWhisper, spy: Spy) -> None:
    sound, spoken = speech(40)
    assert len(sound) > 80 * LISTENING_RATE
    stream, most = engine.open(word_times=True), 0
    for start in range(0, len(sound), 8000):
        stream.feed(sound[start : start + 8000])
        most = max(most, stream._utterance.length)
    before = len(spy.frames)
    transcript = stream.finish()
    said = " ".join(text for text, _, _ in spoken)
    # So small a model mishears one sentence or another; a window that was lost or read twice would be a third of them.
    assert word_errors(said, transcript.text) <= 0.08 * len(said.split())
    assert transcript.text == " ".join(segment.text for segment in transcript.segments)
    right = 0
    for segment in transcript.segments:
        assert all(segment.start <= word.start <= word.end <= segment.end for word in segment.words)
        places = [(start_s, end_s) for text, start_s, end_s in spoken if text == segment.text]
        right += any(abs(segment.start - start) < 0.4 and abs(segment.end - end) < 0.4 for start, end in places)
    assert right >= 36
    assert len(spy.frames) == before + 1  # what was left in the end
    assert max(spy.frames) <= 3000
    assert most < 31 * LISTENING_RATE


def test_long_speech_in_one_piece_is_the_same(engine: FasterWhisper) -> None:
    sound, spoken = speech(20)
    assert transcribe(engine, sound).text == " ".join(text for text, _, _ in spoken)


def test_long_speech_keeps_the_style_of_its_beginning(engine: FasterWhisper) -> None:
    sound, spoken = speech(20)
    transcript = transcribe(engine, sound, prompt="Good morning. Thank you very much.")
    assert all(segment.text[0].isupper() and segment.text[-1] in ".?" for segment in transcript.segments)
    assert len(transcript.segments) == len(spoken)


def test_long_speech_begins_again_after_a_finish(engine: FasterWhisper) -> None:
    stream = engine.open()
    stream.feed(speech(20)[0])
    stream.finish()
    stream.feed(utterance("who made you"))
    assert heard(stream.finish()) == heard(transcribe(engine, utterance("who made you")))


def test_an_hour_of_silence_is_an_empty_transcript(engine: FasterWhisper, spy: Spy) -> None:
    stream = engine.open()
    for _ in range(60):
        stream.feed(np.zeros(60 * LISTENING_RATE, np.int16))
    assert stream.finish() == Transcript("")
    assert spy.frames == []


BEGIN = 100
END = 90
"""A tokenizer with timestamps from 100, and its end of text at 90."""


def pieces(*tokens: int, last: bool = False, seconds: float = 30.0) -> tuple[list[tuple[Any, ...]], float | None]:
    found, rest = split(tokens, BEGIN, END, seconds, last)
    return [(round(each.start, 2), each.end and round(each.end, 2), each.tokens) for each in found], rest


def test_an_unfinished_segment_is_left_to_the_next_window() -> None:
    assert pieces(100, 1, 2, 600, 650, 3) == ([(0, 10, (1, 2))], 11)
    assert pieces(100, 1, 2, 600, 650, 650) == ([(0, 10, (1, 2))], 11)


def test_an_unfinished_segment_counts_in_the_last_window() -> None:
    assert pieces(100, 1, 2, 600, 650, 3, last=True) == ([(0, 10, (1, 2)), (11, None, (3,))], None)
    assert pieces(1, 2, last=True) == ([(0, None, (1, 2))], None)


def test_a_window_without_a_whole_segment_is_taken_as_it_is() -> None:
    assert pieces(100, 1, 2) == ([(0, None, (1, 2))], None)
    assert pieces(100, 1, 110, 110, 2) == ([(0, 0.2, (1,)), (0.2, None, (2,))], None)


def test_a_window_that_ends_in_silence_is_done_with() -> None:
    assert pieces(100, 1, 2, 600) == ([(0, 10, (1, 2))], None)
    assert pieces() == ([], None)
    assert pieces(100) == ([], None)


def test_times_are_within_the_sound_and_in_order() -> None:
    assert pieces(100, 1, 600, 550, 2, 700, seconds=9.0, last=True) == ([(0, 9, (1,)), (9, 9, (2,))], None)


# --- thresholds -----------------------------------------------------------------------------------------------


def count_decodings(monkeypatch: pytest.MonkeyPatch, sound: Pcm16, **options: Any) -> int:
    engine = make(**options)
    spy = Spy(engine, monkeypatch)
    transcribe(engine, sound)
    return spy.decoded


def test_other_temperatures_are_tried_where_the_text_is_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = utterance("who made you")
    assert count_decodings(monkeypatch, sound) == 1
    assert count_decodings(monkeypatch, sound, log_prob_threshold=0, no_speech_threshold=None) == 3
    assert count_decodings(monkeypatch, sound, compression_ratio_threshold=0.1, temperature=[0, 0.5]) == 2
    assert count_decodings(monkeypatch, sound, log_prob_threshold=0, no_speech_threshold=None, temperature=0) == 1


def test_a_temperature_draws_words() -> None:
    engine = make(temperature=2.0, compression_ratio_threshold=None, log_prob_threshold=None)
    sound = utterance("who made you")
    texts = {transcribe(engine, sound).segments for _ in range(40)}
    assert len(texts) > 1


def test_text_is_dropped_where_nobody_speaks() -> None:
    sound = utterance("who made you")
    assert transcribe(make(no_speech_threshold=0, log_prob_threshold=None), sound).text == ""
    assert transcribe(make(no_speech_threshold=0), sound).text == "who made you"  # the model is sure of it
    assert transcribe(make(no_speech_threshold=None, log_prob_threshold=None), sound).text == "who made you"


# --- several at once, and the end ------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_streams_do_not_disturb_each_other(workers: int) -> None:
    engine = make(workers=workers)
    assert engine._reader._model.model.num_workers == workers

    def listen(text: str) -> str:
        stream = engine.open()
        for sound in np.array_split(utterance(text), 5):
            stream.feed(sound)
            stream.hypothesis()
        return stream.finish().text

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(listen, KNOWN)) == list(KNOWN)
    engine.close()


def blocked(spy: Spy) -> tuple[threading.Event, threading.Event]:
    """Makes the next encoding wait. Returns what tells that it does, and what lets it go on."""
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go_on.wait(PATIENCE_S)

    spy.before_encoding = wait
    return begun, go_on


def test_closing_ends_a_call_as_soon_as_its_job_is_over(engine: FasterWhisper, spy: Spy) -> None:
    begun, go_on = blocked(spy)
    stream = engine.open()
    stream.feed(utterance("who made you"))
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(stream.finish)
        assert begun.wait(PATIENCE_S)
        stream.close()
        stream.close()
        go_on.set()
        with pytest.raises(StageError, match="closed") as caught:
            call.result(PATIENCE_S)
    assert caught.value.stage == "transcription"
    assert (len(spy.frames), spy.decoded) == (1, 0)


def tell_when_in_line(stream: WhisperStream, in_line: threading.Event, patch: pytest.MonkeyPatch) -> None:
    """Has the stream tell when it has its place in the line of those who wait for their turn."""
    check, asked = stream._check, itertools.count()

    def watch() -> None:
        if next(asked):  # the first time is at the beginning of the call
            in_line.set()
        check()

    patch.setattr(stream, "_check", watch)


def test_closing_ends_the_wait_for_a_turn(engine: FasterWhisper, spy: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = blocked(spy)
    busy, waiting, in_line = engine.open(), engine.open(), threading.Event()
    busy.feed(utterance("who made you"))
    waiting.feed(utterance("tell me a joke"))
    tell_when_in_line(waiting, in_line, monkeypatch)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(busy.finish)
        assert begun.wait(PATIENCE_S)
        second = threads.submit(waiting.finish)
        assert in_line.wait(PATIENCE_S)
        waiting.close()
        with pytest.raises(StageError, match="closed"):
            second.result(PATIENCE_S / 2)  # the other one goes on waiting
        go_on.set()
        assert first.result(PATIENCE_S).text == "who made you"
    assert len(spy.frames) == 1


def test_long_speech_lets_others_have_their_turn(
    engine: FasterWhisper, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = blocked(spy)
    long, short, in_line = engine.open(), engine.open(), threading.Event()
    short.feed(utterance("who made you"))
    tell_when_in_line(short, in_line, monkeypatch)
    with ThreadPoolExecutor(2) as threads:
        talking = threads.submit(long.feed, silence(150))
        assert begun.wait(PATIENCE_S)
        asking = threads.submit(short.finish)
        assert in_line.wait(PATIENCE_S)
        go_on.set()
        assert asking.result(PATIENCE_S).text == "who made you"
        talking.result(PATIENCE_S)
    assert spy.frames.index(1000) == 1  # the second of all


@pytest.mark.parametrize("call", [WhisperStream.hypothesis, WhisperStream.finish])
def test_a_closed_stream_starts_nothing(
    engine: FasterWhisper, spy: Spy, call: Callable[[WhisperStream], object]
) -> None:
    stream = engine.open()
    stream.feed(utterance("who made you"))
    stream.close()
    with pytest.raises(StageError, match="closed"):
        call(stream)
    with pytest.raises(StageError, match="closed"):
        stream.feed(silence(1))
    assert spy.frames == []


def test_what_ctranslate2_refuses_fails_the_utterance_and_not_the_next(engine: FasterWhisper, spy: Spy) -> None:
    def refuse() -> None:
        raise RuntimeError("out of memory")

    spy.before_encoding = refuse
    with pytest.raises(StageError, match="out of memory"):
        transcribe(engine, utterance("who made you"))
    spy.before_encoding = lambda: None
    assert transcribe(engine, utterance("who made you")).text == "who made you"


THREADS = """
import os, sys
import numpy as np
from pipeline.transcription.faster_whisper import FasterWhisper

def threads_for(count):
    before = len(os.listdir("/proc/self/task"))
    engine = FasterWhisper(FasterWhisper.Options(model=sys.argv[1], device="cpu", threads=count))
    engine.warm_up()
    return len(os.listdir("/proc/self/task")) - before

one = threads_for(1)
print(threads_for(3) - one)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads where Linux lists them")
def test_threads_say_how_many_compute() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS, WEIGHTS], stdout=subprocess.PIPE, text=True, check=True)
    assert int(done.stdout) >= 2
