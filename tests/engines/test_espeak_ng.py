"""What the engine `espeak-ng` promises."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest

from pipeline.errors import EngineError, StageError
from pipeline.tts.espeak_ng import RATE, EspeakNg
from pipeline.types import Pcm16, SpeechRequest
from pipeline.workers import CancelToken


@pytest.fixture(scope="module")
def engine() -> EspeakNg:
    engine = EspeakNg(EspeakNg.Options())
    engine.warm_up()
    return engine


NUMBER = "1234"
"""As long as its language makes it."""


def speak(engine: EspeakNg, text: str, voice: str | None = None, speed: float = 1.0) -> Pcm16:
    return np.concatenate(list(engine.synthesize(SpeechRequest(text, voice, speed), CancelToken())))


def alike(sound: Pcm16, other: Pcm16) -> bool:
    """Whether two clauses are as long as each other but for the jitter that espeak-ng's voices have."""
    return abs(len(sound) - len(other)) < 0.02 * len(sound)


def sounding(sound: Pcm16) -> tuple[float, float]:
    """Returns the seconds before the first and after the last audible sample."""
    audible = np.flatnonzero(np.abs(sound) > 100)
    return audible[0] / RATE, (len(sound) - audible[-1]) / RATE


def test_speaks_in_chunks_at_its_rate(engine: EspeakNg) -> None:
    chunks = list(engine.synthesize(SpeechRequest("The capital of France is Paris."), CancelToken()))
    assert len(chunks) > 10
    assert all(chunk.dtype == np.int16 and 0 < len(chunk) <= 0.06 * RATE + 1 for chunk in chunks)
    assert 1.5 < sum(map(len, chunks)) / RATE < 3.5


def test_speech_begins_at_once(engine: EspeakNg) -> None:
    assert sounding(speak(engine, "Hello there."))[0] < 0.05


def test_only_punctuation_makes_a_pause(engine: EspeakNg) -> None:
    assert 0.2 < sounding(speak(engine, "It is so."))[1] < 0.5
    assert 0.1 < sounding(speak(engine, "It is so,"))[1] < 0.3
    assert sounding(speak(engine, "It is so"))[1] < 0.05


def test_speed_is_relative_to_the_words_per_minute(engine: EspeakNg) -> None:
    text = "This is how fast I speak to you today"
    normal = len(speak(engine, text))
    assert len(speak(engine, text, speed=1.5)) == pytest.approx(normal / 1.5, rel=0.15)
    assert len(speak(engine, text, speed=0.5)) == pytest.approx(normal * 2, rel=0.2)
    assert len(speak(engine, text)) == pytest.approx(normal, rel=0.02)


def test_the_slowest_and_fastest_speeds_are_as_stated(engine: EspeakNg) -> None:
    slowest, fastest = engine.capabilities.speeds
    assert (slowest, fastest) == (0.5, 450 / 160)
    text = "This is how fast I speak to you today"
    assert alike(speak(engine, text, speed=slowest / 2), speak(engine, text, speed=slowest))
    assert alike(speak(engine, text, speed=fastest * 2), speak(engine, text, speed=fastest))


def test_every_stated_voice_speaks(engine: EspeakNg) -> None:
    voices = engine.capabilities.voices
    assert voices[0] == "en-us"
    assert {"en-gb", "de", "fr", "en-us+klatt4"} <= set(voices)
    assert len(set(voices)) == len(voices)
    for voice in voices:
        list(engine.synthesize(SpeechRequest("1", voice), CancelToken()))


def test_a_request_chooses_its_voice_for_itself_only(engine: EspeakNg) -> None:
    own = speak(engine, NUMBER)
    assert not alike(speak(engine, NUMBER, voice="de"), own)
    assert alike(speak(engine, NUMBER), own)


def test_two_engines_keep_their_own_voices_and_pace(engine: EspeakNg) -> None:
    own = speak(engine, NUMBER)
    german = EspeakNg(EspeakNg.Options(voice="de"))
    fast = EspeakNg(EspeakNg.Options(words_per_minute=250))
    assert not alike(speak(german, NUMBER), own)
    assert len(speak(fast, NUMBER)) < 0.8 * len(own)
    assert alike(speak(engine, NUMBER), own)
    german.close()
    fast.close()
    assert alike(speak(engine, NUMBER), own)


def test_unknown_voice_stops_the_start_with_close_matches() -> None:
    for voice in ("en-uss", "en-us+klat4", "en-us+", ""):
        with pytest.raises(EngineError, match="Try ") as caught:
            EspeakNg(EspeakNg.Options(voice=voice))
        assert caught.value.option == "voice"
    with pytest.raises(EngineError, match=r"en-us\+klatt4"):
        EspeakNg(EspeakNg.Options(voice="en-us+klat4"))


def test_unknown_voice_in_a_request_fails_the_clause(engine: EspeakNg) -> None:
    with pytest.raises(StageError, match="alloy"):
        speak(engine, "Hello there.", voice="alloy")


def test_text_is_never_taken_for_markup_or_commands(engine: EspeakNg) -> None:
    # As SSML this would be one word, and with its tags it is read aloud.
    assert len(speak(engine, "<speak><sub alias='no'>word</sub></speak>")) > 2 * len(speak(engine, "word"))
    assert len(speak(engine, "before\x00 after")) > 1.5 * len(speak(engine, "before"))
    assert alike(speak(engine, "so \x01400S fast"), speak(engine, "so  400S fast"))


def test_text_without_a_word_makes_no_speech_and_no_error(engine: EspeakNg) -> None:
    for text in ("", "   ", "\n", "\ud800"):
        chunks = list(engine.synthesize(SpeechRequest(text), CancelToken()))
        assert sum(map(len, chunks)) < RATE


def test_cancel_ends_the_clause_soon(engine: EspeakNg) -> None:
    text = "This sentence is one of very many, all of them the same. " * 2000
    cancel = CancelToken()
    threading.Timer(0.05, cancel.cancel).start()
    began = time.monotonic()
    list(engine.synthesize(SpeechRequest(text), cancel))
    assert time.monotonic() - began < 1.0  # it is 3 s of computing
    assert list(engine.synthesize(SpeechRequest(text), cancel)) == []


def test_a_clause_after_a_cancelled_one_is_whole(engine: EspeakNg) -> None:
    whole = speak(engine, "Hello there.")
    cancel = CancelToken()
    chunks = engine.synthesize(SpeechRequest("Something else entirely."), cancel)
    next(chunks)
    cancel.cancel()
    assert list(chunks) == []
    assert alike(speak(engine, "Hello there."), whole)


def test_clauses_of_several_threads_do_not_mix(engine: EspeakNg) -> None:
    texts = ["on" + " and on" * count for count in range(8)]
    alone = {text: speak(engine, text) for text in texts}
    heard: dict[str, Pcm16] = {}
    threads = [threading.Thread(target=lambda t=text: heard.update({t: speak(engine, t)})) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(alike(heard[text], alone[text]) for text in texts)


def test_data_in_a_deep_folder_is_found(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    (deep / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
    # In a process of its own: a process has one espeak-ng.
    subprocess.run([sys.executable, "-c", DEEP, str(deep / "espeak-ng-data")], check=True, timeout=60)


DEEP = """
import sys
import espeakng_loader
espeakng_loader.get_data_path = lambda: sys.argv[1]
from pipeline.tts.espeak_ng import EspeakNg
EspeakNg(EspeakNg.Options()).warm_up()
"""
