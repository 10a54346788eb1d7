"""What the engine `piper` promises of a long sentence, on small voices that are built as Piper's are."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from pipeline.onnx_graph import Graph, NotAGraphError
from pipeline.tts import piper_sound
from pipeline.tts.piper import Piper, _pcm16
from pipeline.tts.piper_cut import Margins, UncuttableError, cut
from pipeline.tts.piper_sound import FIRST_FRAMES, MOST_FRAMES, SlicedSound, WholeSound, slices
from pipeline.turn import run_turn
from pipeline.types import WIRE_RATE, Message, Pcm16, Prompt, RunId, Samples, SpeechRequest, TurnAudio, TurnRequest
from pipeline.workers import CancelToken
from scripts.make_bench_models import piper
from tests.fakes import FakeModel, fake_line

MEDIUM, HIGH = (
    replace(shape, width=8, hidden=12, layers=1, speaker_width=6, decoder_width=2 ** (2 + len(shape.rates)))
    for shape in piper.SHAPES.values()
)
"""Piper's own kernels, with few channels."""
HOP = 256
LONG = "This is a sentence that goes on and on because whoever says it never comes to a point, or to an end"
SPEAKERS = ("alto", "tenor", "bass")
SPEAK = TurnRequest(RunId(1, 0), Prompt((Message("user", "hello"),)), "audio")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("voices")


@pytest.fixture(scope="module")
def medium(folder: Path) -> Path:
    return piper.write(folder / "en_US-small-medium.onnx", MEDIUM)


@pytest.fixture(scope="module")
def high(folder: Path) -> Path:
    return piper.write(folder / "en_US-small-high.onnx", HIGH)


@pytest.fixture(scope="module")
def choir(folder: Path) -> Path:
    return piper.write(folder / "en_US-several-medium.onnx", MEDIUM, SPEAKERS)


@pytest.fixture(params=["medium", "high", "choir"])
def voice(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def make(voice: Path, **options: Any) -> Piper:
    return Piper(Piper.Options(voice=str(voice), noise=0.0, noise_w=0.0, sentence_pause=0.0, **options))


def session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def run(model: bytes, **feeds: Any) -> list[Any]:
    opened = session(model)
    taken: list[Any] = opened.run(None, {each.name: feeds[each.name] for each in opened.get_inputs()})
    return taken


def chunks_of(engine: Piper, text: str, voice: str | None = None) -> list[Pcm16]:
    return list(engine.synthesize(SpeechRequest(text, voice), CancelToken()))


def whole(engine: Piper, path: Path, text: str, name: str) -> Pcm16:
    """The sound of a text made by the voice as it lies on the disk, sentence by sentence."""
    choice = engine._choices[name]
    scales = engine._scales(choice.voice, 1.0)
    sound = WholeSound(path, "cpu", 1, lambda _: None, mend="", option="voice")
    made: list[Samples] = []
    for sentence in choice.voice.sentences(text):
        made += sound.speak(sentence.ids, choice.speaker, scales, onnxruntime.RunOptions())
    return _pcm16(np.concatenate(made) * np.float32(0.8 / choice.voice.peak(choice.speaker)), 1.0)


# --- the sound ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Yes.", LONG, f"{LONG}. Is it? {LONG}, {LONG}."])
def test_slices_are_the_whole_to_within_one_step(voice: Path, text: str) -> None:
    engine = make(voice)
    for name in engine.capabilities.voices[-2:]:
        sliced = np.concatenate(chunks_of(engine, text, name)).astype(int)
        expected = whole(engine, voice, text, name).astype(int)
        assert len(sliced) == len(expected)
        assert np.abs(sliced - expected).max() <= 1


def test_speakers_sound_different(choir: Path) -> None:
    engine = make(choir)
    alto, bass = (
        np.concatenate(chunks_of(engine, "Yes.", f"en_US-several-medium/{each}")) for each in ("alto", "bass")
    )
    length = min(len(alto), len(bass))
    assert np.abs(alto[:length].astype(int) - bass[:length]).max() > 1000


def test_a_long_sentence_begins_with_a_short_slice(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make(medium)
    sound = engine._choices[engine.capabilities.voices[0]].voice._sound
    assert isinstance(sound, SlicedSound)
    decoded: list[int] = []
    flowed: list[int] = []
    engine.warm_up()
    monkeypatch.setattr(sound, "_decoder", Watched(sound._decoder, decoded))
    monkeypatch.setattr(sound, "_flow", Watched(sound._flow, flowed))
    chunks = engine.synthesize(SpeechRequest(LONG), CancelToken())
    first, second = next(chunks), next(chunks)
    assert (len(first), len(second)) == (FIRST_FRAMES * HOP, 2 * FIRST_FRAMES * HOP)
    # With margins of 11 and 32 frames, where there is anything; no frame goes through the flow twice but in a margin.
    assert decoded == [FIRST_FRAMES + 11, 11 + 2 * FIRST_FRAMES + 11]
    assert flowed == [decoded[0] + 32, decoded[0] + 2 * FIRST_FRAMES + 32]
    assert sum(map(len, chunks)) > 10 * len(first)


class Watched:
    """A session that notes how many frames it is given."""

    def __init__(self, opened: onnxruntime.InferenceSession, frames: list[int]) -> None:
        self._session, self._frames = opened, frames
        self.get_inputs = opened.get_inputs

    def run(self, names: list[str], feeds: dict[str, Any], options: onnxruntime.RunOptions) -> Any:
        self._frames.append(max(each.shape[-1] for each in feeds.values()))
        return self._session.run(names, feeds, options)


def test_nothing_follows_a_cancel_between_slices(medium: Path) -> None:
    cancel = CancelToken()
    chunks = make(medium).synthesize(SpeechRequest(LONG), cancel)
    next(chunks)
    cancel.cancel()
    assert list(chunks) == []


@pytest.mark.parametrize("frames", [1, 19, 20, 29, 30, 31, 60, 61, 500, 1034, 5000])
def test_slices_follow_each_other_and_grow_slowly(frames: int) -> None:
    bounds = list(slices(frames))
    assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])]
    assert bounds[-1][1] == frames
    sizes = [stop - start for start, stop in bounds]
    assert sizes[0] == FIRST_FRAMES or (len(sizes) == 1 and frames < 1.5 * FIRST_FRAMES)
    # The next slice is made while all before are heard: with its margins it may be four times as long as they.
    assert all(size + 32 <= 4 * sum(sizes[:index]) for index, size in enumerate(sizes) if index)
    assert max(sizes) <= 1.5 * MOST_FRAMES


# --- how loud -------------------------------------------------------------------------------------------------


def test_a_voice_is_as_loud_as_its_volume_says(voice: Path) -> None:
    for volume in (1.0, 0.25):
        peak = np.abs(np.concatenate(chunks_of(make(voice, volume=volume), "1, 2, 3, 4, 5, 6."))).max()
        assert peak == pytest.approx(0.8 * 32767 * volume, rel=0.01)
    assert not np.concatenate(chunks_of(make(voice, volume=0.0), "One.")).any()


def test_sentences_keep_their_loudness_among_each_other(medium: Path) -> None:
    # Whatever they are said with: a quiet one is not made as loud as a loud one.
    engine = make(medium)
    alone = np.concatenate(chunks_of(engine, "Hush."))
    assert np.array_equal(np.concatenate(chunks_of(engine, f"Hush. {LONG}!"))[: len(alone)], alone)


def test_what_is_too_loud_is_bent_and_nothing_else() -> None:
    sound = np.linspace(-3, 3, 1001, dtype=np.float32)
    made = _pcm16(sound, 1.0)
    assert np.abs(made).max() <= 32767
    assert (np.diff(made.astype(int)) >= 0).all()
    quiet = np.abs(sound) <= 0.8
    assert np.array_equal(made[quiet], np.round(sound[quiet] * np.float32(32767)))


# --- where it is cut ------------------------------------------------------------------------------------------


def test_margins_are_what_a_frame_reaches_and_no_more(voice: Path) -> None:
    parts = cut(voice.read_bytes())
    assert parts.hop == HOP
    random = np.random.default_rng(0)
    frames, changed = 120, 60
    latent = random.standard_normal((1, 8, frames)).astype(np.float32)
    mask = np.ones((1, 1, frames), np.float32)
    beside = dict.fromkeys(parts.beside, mask) | {"sid": np.array([1])}
    for part, given, step, margins, slack in (
        # So far out, what is left of a change is lost in rounding.
        (parts.flow, parts.prior, 1, parts.flow_margins, 6),
        (parts.decoder, parts.latent, HOP, parts.decoder_margins, 1),
    ):
        other = latent.copy()
        other[..., changed] += 100.0
        (before,), (after,) = (run(part, **{given: each, **beside}) for each in (latent, other))
        differs = np.flatnonzero((before != after).reshape(-1, frames * step).any(axis=0)) // step
        assert changed - margins.after <= differs.min() <= changed - margins.after + slack
        assert changed + margins.before - slack <= differs.max() <= changed + margins.before


def test_margins_follow_from_the_kernels(medium: Path, high: Path) -> None:
    assert cut(medium.read_bytes()).decoder_margins == Margins(11, 11)
    assert cut(high.read_bytes()).decoder_margins == Margins(13, 13)
    assert cut(medium.read_bytes()).flow_margins == Margins(32, 32)


def test_the_parts_are_hardly_more_than_the_voice(voice: Path) -> None:
    parts = cut(voice.read_bytes())
    assert sum(len(part) for part in (parts.text, parts.flow, parts.decoder)) < 1.3 * voice.stat().st_size


def test_a_graph_is_read_as_onnx_reads_it(choir: Path) -> None:
    graph, theirs = Graph(choir.read_bytes()), onnx.load(choir).graph
    assert [(node.op, node.name, node.inputs, node.outputs) for node in graph.nodes] == [
        (node.op_type, node.name, tuple(node.input), tuple(node.output)) for node in theirs.node
    ]
    for ours, node in zip(graph.nodes, theirs.node, strict=True):
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.INTS:
                assert ours.numbers(attribute.name, ()) == tuple(attribute.ints)
    assert graph.inputs == tuple(each.name for each in theirs.input)
    assert all(graph.shape(weight.name) == tuple(weight.dims) for weight in theirs.initializer)


def test_what_is_no_graph_is_told(medium: Path) -> None:
    model = medium.read_bytes()
    for damaged in (model[:1000], model[: len(model) // 2], model[1:], b"\xff" * 100, b"<html>"):
        with pytest.raises((NotAGraphError, UncuttableError)):
            cut(damaged)


# --- voices that cannot be cut --------------------------------------------------------------------------------


def insert(voice: Path, path: Path, *nodes: onnx.NodeProto) -> Path:
    """Puts nodes between the decoder's last convolution, `before`, and what follows, `after`."""
    model = onnx.load(voice)
    graph = model.graph
    place = next(index for index, node in enumerate(graph.node) if node.op_type == "Tanh" and "dec" in node.name)
    for node in nodes:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = graph.node[place].input[0] if name == "before" else name
    graph.node[place].input[0] = "after"
    for offset, node in enumerate(nodes):
        graph.node.insert(place + offset, node)
    onnx.save(model, path)
    path.with_name(f"{path.name}.json").write_bytes(voice.with_name(f"{voice.name}.json").read_bytes())
    return path


def over_time(voice: Path, path: Path) -> Path:
    """Takes the mean of the whole sentence out of it."""
    mean = helper.make_node("ReduceMean", ["before"], ["mean"], axes=[2])
    return insert(voice, path, mean, helper.make_node("Sub", ["before", "mean"], ["after"]))


def turned_round(voice: Path, path: Path) -> Path:
    """Says everything backwards, with an operation that a decoder may have."""
    bounds = [
        helper.make_node("Constant", [], [name], value_ints=[value])
        for name, value in (("from", -1), ("to", -(2**62)), ("along", 2), ("by", -1))
    ]
    return insert(voice, path, *bounds, helper.make_node("Slice", ["before", "from", "to", "along", "by"], ["after"]))


@pytest.mark.parametrize(
    ("change", "reason"), [(over_time, "uses ReduceMean"), (turned_round, "depend on others that are far away")]
)
def test_a_voice_that_cannot_be_sliced_is_made_whole_and_the_log_says_why(
    medium: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Path, Path], Path],
    reason: str,
) -> None:
    voice = change(medium, tmp_path / "en_US-odd-medium.onnx")
    with caplog.at_level(logging.WARNING, piper_sound.__name__):
        engine = make(voice)
    (record,) = caplog.records
    assert "en_US-odd-medium.onnx" in record.message
    assert reason in record.message
    (chunk,) = chunks_of(engine, LONG)
    assert np.abs(chunk.astype(int) - whole(engine, voice, LONG, "en_US-odd-medium")).max() <= 1


# --- on the wire ----------------------------------------------------------------------------------------------


async def test_a_reply_sounds_the_same_however_its_sentences_are_sliced(
    medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes out at 24 kHz is resampled in one stream: neither slices nor clauses leave a seam."""
    line = fake_line(llm=FakeModel([f"Yes. {LONG}, {LONG}. ", f"{LONG}!"]), tts=make(medium))
    sounds = []
    for cut_up in (slices, lambda frames: iter([(0, frames)]), lambda frames: slices_of(frames, 7)):
        monkeypatch.setattr(piper_sound, "slices", cut_up)
        events = [event async for event in run_turn(line, line.llm.open(), SPEAK)]
        sounds.append(np.concatenate([event.samples for event in events if isinstance(event, TurnAudio)]).astype(int))
    assert len(sounds[0]) == len(sounds[1]) == len(sounds[2]) > 10 * WIRE_RATE
    assert max(np.abs(sounds[0] - other).max() for other in sounds[1:]) <= 1


def slices_of(frames: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, frames, size):
        yield start, min(frames, start + size)
