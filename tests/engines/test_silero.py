"""What the engine `silero` promises."""

import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from pipeline import onnx_session
from pipeline.errors import EngineError
from pipeline.types import Pcm16, Samples
from pipeline.vad.silero import CONTEXT, FRAME, Silero
from tests.speech import say, silence, utterance


@pytest.fixture(scope="module")
def engine() -> Iterator[Silero]:
    engine = Silero(Silero.Options())
    engine.warm_up()
    yield engine
    engine.close()


def frames(sound: Pcm16) -> list[Samples]:
    whole = len(sound) - len(sound) % FRAME
    return list((sound[:whole] / 32768).astype(np.float32).reshape(-1, FRAME))


def listen(engine: Silero, sound: Pcm16) -> list[float]:
    state = engine.open()
    return [engine.detect([(state, frame)])[0] for frame in frames(sound)]


def test_hears_speech_and_not_silence(engine: Silero) -> None:
    verdicts = listen(engine, np.concatenate([silence(1), say("what time is it"), silence(1)]))
    second = 16_000 // FRAME
    assert max(verdicts[: second - 1]) < 0.3
    assert max(verdicts[-second // 2 :]) < 0.3
    assert np.mean(np.array(verdicts[second:-second]) > 0.5) > 0.7


def test_batch_gives_what_each_session_gives_alone(engine: Silero) -> None:
    sounds = [frames(utterance(text))[:40] for text in ("what time is it", "how are you today", "what is your name")]
    alone = [[engine.detect([(state, frame)])[0] for frame in sound] for sound in sounds for state in [engine.open()]]

    states = [engine.open() for _ in sounds]
    together: list[list[float]] = []
    for step in zip(*sounds, strict=True):
        order = np.random.default_rng(len(together)).permutation(len(states))  # a session has no fixed place
        verdicts = engine.detect([(states[index], step[index]) for index in order])
        together.append([verdicts[list(order).index(index)] for index in range(len(states))])

    np.testing.assert_allclose(np.array(together).T, alone, atol=1e-4)


def test_a_session_does_not_hear_its_neighbours(engine: Silero) -> None:
    quiet, loud = engine.open(), engine.open()
    verdicts = [
        engine.detect([(loud, speech), (quiet, room)])
        for speech, room in zip(frames(say("turn on the kitchen lights")), frames(silence(9)), strict=False)
    ]
    assert max(verdict[0] for verdict in verdicts) > 0.8
    assert max(verdict[1] for verdict in verdicts) < 0.3


def test_a_frame_is_judged_with_the_sound_before_it(engine: Silero) -> None:
    sound = utterance("what time is it")
    forgetful = [engine.detect([(engine.open(), frame)])[0] for frame in frames(sound)]
    assert not np.allclose(listen(engine, sound), forgetful, atol=0.05)


def test_the_end_of_the_frame_before_is_heard_again(engine: Silero) -> None:
    before, frame = frames(say("what time is it"))[10:12]
    kept, cut = engine.open(), engine.open()
    engine.detect([(kept, before), (cut, before)])
    np.testing.assert_array_equal(kept.context, before[-CONTEXT:])
    cut.context = np.zeros(CONTEXT, np.float32)
    assert engine.detect([(kept, frame)]) != engine.detect([(cut, frame)])


def test_the_callers_frame_is_not_kept(engine: Silero) -> None:
    sound = frames(utterance("what time is it"))
    state, buffer, verdicts = engine.open(), np.empty(FRAME, np.float32), []
    for frame in sound:
        buffer[:] = frame
        verdicts.append(engine.detect([(state, buffer)])[0])
    whole = engine.open()
    assert verdicts == [engine.detect([(whole, frame)])[0] for frame in sound]


def test_nobody_waiting_is_no_error(engine: Silero) -> None:
    assert engine.detect([]) == []


def test_torch_is_not_needed(engine: Silero) -> None:
    assert "torch" not in sys.modules
    assert "silero_vad" not in sys.modules


def test_missing_wheel_names_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(EngineError, match="Install it"):
        Silero(Silero.Options())


@pytest.mark.parametrize("content", [None, b"", b"damaged"])
def test_weights_that_are_missing_or_damaged_name_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    wheel = ModuleSpec("silero_vad", None, is_package=True)
    wheel.submodule_search_locations = [str(tmp_path)]
    (tmp_path / "data").mkdir()
    if content is not None:
        (tmp_path / "data" / "silero_vad_16k_op15.onnx").write_bytes(content)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: wheel)
    with pytest.raises(EngineError, match="silero_vad_16k_op15") as caught:
        Silero(Silero.Options())
    assert "Install it" in caught.value.mend


def test_auto_stays_on_the_cpu(engine: Silero, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "check_cuda", lambda: pytest.fail("CUDA was looked for"))
    engine = Silero(Silero.Options(device="auto"))
    assert (engine.device, engine._session.get_providers()) == ("cpu", ["CPUExecutionProvider"])
    engine.close()
