"""What the engine `smart-turn` promises."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline import hub
from pipeline.endpointing.smart_turn import SmartTurn, _prepare
from pipeline.errors import EngineError, StageError
from pipeline.mel import log_mel
from pipeline.stages import Pause
from pipeline.types import Pcm16
from pipeline.vad import silero
from pipeline.workers import CancelToken
from tests.smart_turn_model import smart_turn_model
from tests.speech import say, silence

__all__ = ["smart_turn_model"]

FINISHED = ("what time is it", "turn on the kitchen lights", "tell me a joke")
UNFINISHED = ("I would like to", "set an alarm for um", "I went to the shop because")

Make = Callable[..., SmartTurn]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes engines whose weights find the same probability in whatever they are given."""
    made: list[SmartTurn] = []

    def make(probability: float = 0.5, shape: tuple[int, int] = (80, 800), **options: object) -> SmartTurn:
        weights = tmp_path / f"always_{probability}_{shape[1]}.onnx"
        onnx.save(model_that_finds(probability, shape), weights)
        made.append(SmartTurn(SmartTurn.Options(model=str(weights), **options)))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture(scope="module")
def engine(smart_turn_model: Path) -> Iterator[SmartTurn]:
    engine = SmartTurn(SmartTurn.Options(model=str(smart_turn_model)))
    engine.warm_up()
    yield engine
    engine.close()


def model_that_finds(probability: float, shape: tuple[int, int]) -> onnx.ModelProto:
    """Weights with Smart Turn's input and output: the sum of the input, times zero, plus a number."""
    numbers = {"zero": np.float32(0), "found": np.float32(probability), "axes": np.array([1, 2], np.int64)}
    nodes = [
        helper.make_node("ReduceSum", ["input_features", "axes"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "found"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "last"], ["logits"]),
    ]
    numbers["last"] = np.array([1], np.int64)
    graph = helper.make_graph(
        nodes,
        "always",
        [helper.make_tensor_value_info("input_features", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def pause(sound: Pcm16, most_ms: int = 4000) -> Pause:
    return Pause(sound, "", most_ms)


def spoken(text: str) -> Pcm16:
    """What a pause's sound is: the room before, the words, and the room for as long as it takes to find the pause."""
    return np.concatenate([silence(0.3), say(text), silence(0.13)])


def sweep(samples: int) -> Pcm16:
    """A tone that rises from 50 Hz, with something like noise; the same on every machine."""
    index = np.arange(samples, dtype=np.float64)
    time = index / 16_000
    tone = np.sin(2 * np.pi * (50 * time + 440 * time**2)) + 0.05 * np.sin(0.37 * (index % 4001) ** 2)
    return (tone * 8000).astype(np.int16)


# --- what it makes of a probability ---


@pytest.mark.parametrize(
    ("probability", "silence_ms"),
    [(1.0, 200), (0.5, 200), (0.25, 2100), (0.05, 3620), (0.0, 4000)],
)
def test_the_less_likely_the_end_the_longer_the_silence(make: Make, probability: float, silence_ms: int) -> None:
    assert make(probability).assess(pause(silence(1)), CancelToken()) == silence_ms


def test_threshold_says_what_is_likely_enough(make: Make) -> None:
    assert make(0.25, threshold=0.25).assess(pause(silence(1)), CancelToken()) == 200
    assert make(0.8, threshold=1.0).assess(pause(silence(1)), CancelToken()) > 200


def test_silence_ms_is_what_ends_a_complete_turn(make: Make) -> None:
    assert make(1.0, silence_ms=64).assess(pause(silence(1)), CancelToken()) == 64
    assert make(1.0, silence_ms=900).assess(pause(silence(1)), CancelToken()) == 900


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_never_more_than_the_client_allows(make: Make, probability: float) -> None:
    assert make(probability, silence_ms=900).assess(pause(silence(1), most_ms=500), CancelToken()) == 500


def test_nothing_heard_is_nothing_finished(make: Make) -> None:
    assert make(1.0).assess(pause(np.zeros(0, np.int16)), CancelToken()) == 4000


def test_what_is_cancelled_is_not_judged(make: Make) -> None:
    cancel = CancelToken()
    cancel.cancel()
    assert make(1.0).assess(pause(silence(1)), cancel) == 4000


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_compute_a_judgement(make: Make, threads: int) -> None:
    engine = make(1.0, threads=threads)
    assert engine._session.get_session_options().intra_op_num_threads == threads
    assert engine.assess(pause(silence(1)), CancelToken()) == 200


def test_it_goes_by_the_sound(make: Make) -> None:
    assert make().reads == {"sound"}


# --- what the model is given ---


def test_what_the_model_is_given_is_what_it_was_trained_with() -> None:
    """Against numbers from the feature extractor of pipecat-ai 1.14.0, in double precision."""
    picture = log_mel(_prepare(sweep(96_000)))
    assert picture.shape == (80, 800)
    assert picture.dtype == np.float32
    expected = {
        (0, 0): 0.1033, (20, 0): -0.2913, (79, 0): -0.2913, (0, 185): 0.1033, (40, 185): -0.2913,
        (0, 300): 0.2465, (20, 300): 0.5264, (40, 300): 0.5389, (79, 300): 0.5194,
        (0, 450): 0.2512, (20, 450): 0.5143, (40, 450): 0.5287, (79, 450): 0.5163,
        (0, 600): 0.2538, (20, 600): 0.5045, (40, 600): 0.5177, (79, 600): 0.5126,
        (0, 780): 0.1318, (20, 780): 0.3889, (40, 780): 0.4087, (79, 780): 0.4641, (79, 799): -0.2913,
    }  # fmt: skip
    for place, value in expected.items():
        assert picture[place] == pytest.approx(value, abs=2e-4), place


def test_the_newest_sound_stands_before_200_ms_of_silence() -> None:
    """64 ms of silence are in the sound; the rest is put behind it, and the missing part of 8 s before."""
    window = _prepare(np.full(1600, 16_384, np.int16))
    (heard,) = np.nonzero(window == window.max())
    assert (heard[0], heard[-1]) == (128_000 - 2176 - 1600, 128_000 - 2176 - 1)


def test_of_a_long_utterance_the_newest_is_judged() -> None:
    long = sweep(200_000)
    np.testing.assert_array_equal(_prepare(long), _prepare(long[-128_000:]))
    np.testing.assert_array_equal(_prepare(long), _prepare(long[-125_824:]))


@pytest.mark.parametrize("sound", [np.zeros(16_000, np.int16), np.full(128_000, -32_768, np.int16), sweep(1)])
def test_any_sound_has_a_picture(sound: Pcm16) -> None:
    assert np.isfinite(log_mel(_prepare(sound))).all()


# --- with the real weights ---


@pytest.mark.parametrize("text", FINISHED)
def test_a_sentence_that_is_finished_ends_the_turn_soon(engine: SmartTurn, text: str) -> None:
    assert engine.assess(pause(spoken(text)), CancelToken()) == 200


@pytest.mark.parametrize("text", UNFINISHED)
def test_a_sentence_that_breaks_off_is_given_time(engine: SmartTurn, text: str) -> None:
    assert engine.assess(pause(spoken(text)), CancelToken()) > 2000


def test_sessions_are_judged_at_the_same_time(engine: SmartTurn) -> None:
    sounds = [spoken(text) for text in (*FINISHED, *UNFINISHED)]
    alone = [engine.assess(pause(sound), CancelToken()) for sound in sounds]
    together: dict[int, int] = {}

    def judge(index: int) -> None:
        together[index] = engine.assess(pause(sounds[index]), CancelToken())

    threads = [threading.Thread(target=judge, args=(index,)) for index in range(len(sounds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[index] for index in range(len(sounds))] == alone


def test_weights_that_are_truncated_stop_the_start(smart_turn_model: Path, tmp_path: Path) -> None:
    weights = smart_turn_model.read_bytes()
    for name, kept in (("half.onnx", len(weights) // 2), ("almost.onnx", len(weights) - 1000)):
        (tmp_path / name).write_bytes(weights[:kept])
        assert name in refusal(str(tmp_path / name)).problem


# --- what stops the start ---


def refusal(model: str, **options: object) -> EngineError:
    with pytest.raises(EngineError) as caught:
        SmartTurn(SmartTurn.Options(model=model, **options)).warm_up()
    assert caught.value.option == "model"
    assert "smart-turn-v3.2-cpu.onnx" in caught.value.mend
    return caught.value


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = refusal(str(tmp_path / "none.onnx"))
    assert missing.problem == f"{tmp_path / 'none.onnx'} does not exist."
    assert "folder" in refusal(str(tmp_path)).problem


@pytest.mark.parametrize("content", [b"", b"not weights", b"\0" * 5000])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.onnx").write_bytes(content)
    assert "odd.onnx" in refusal(str(tmp_path / "odd.onnx")).problem


def test_another_kind_of_model_is_refused() -> None:
    assert "not the one of Smart Turn" in refusal(str(silero._find_weights())).problem


def test_a_model_for_another_length_of_sound_is_refused(make: Make) -> None:
    with pytest.raises(EngineError, match="not the one of Smart Turn v3"):
        make(shape=(80, 3000))


@pytest.mark.parametrize("number", [1.5, -0.1, float("nan")])
def test_a_model_that_gives_no_probability_is_refused(make: Make, number: float) -> None:
    engine = make(number)
    with pytest.raises(EngineError, match="no probability"):
        engine.warm_up()
    with pytest.raises(StageError) as caught:
        engine.assess(pause(silence(1)), CancelToken())
    assert caught.value.stage == "endpointing"


def test_a_reference_is_fetched_from_the_hub(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = make(1.0)._options.model
    asked: list[str] = []

    def fetch(reference: hub.Reference, option: str = "model") -> Path:
        asked.append(str(reference))
        return Path(weights)

    monkeypatch.setattr(hub, "fetch_file", fetch)
    reference = "hf:pipecat-ai/smart-turn-v3:smart-turn-v3.2-cpu.onnx"
    engine = SmartTurn(SmartTurn.Options(model=reference))
    assert engine.assess(pause(silence(1)), CancelToken()) == 200
    assert asked == [reference]
    engine.close()
