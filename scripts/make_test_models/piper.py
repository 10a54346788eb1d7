"""Makes Piper voices whose sound tells what they were asked for. tests/piper_voice.py reads it back.

To Piper such a file is a voice like any other: the same inputs, the same output, the same description beside it. But
its graph is written down here instead of trained, and weighs 3 kB. Each phoneme id lasts `SECONDS` times the length
scale and sounds as two tones, one for each half of its byte; three quiet tones besides tell the speaker and the two
noise scales.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx.parser import parse_model
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

SECONDS = 0.04
"""How long a phoneme id lasts at length scale 1."""

GAP = 0.003
"""Seconds of silence at the end of each phoneme id, whatever the length scale: they tell two ids apart."""

LOW_HZ = tuple(900 + 125 * half for half in range(16))
HIGH_HZ = tuple(3200 + 125 * half for half in range(16))
SPEAKER_HZ = tuple(5500 + 120 * speaker for speaker in range(8))
NOISE_HZ, NOISE_W_HZ = 6600, 6900

# The low tone is louder than all the others together: the sound never fades within a phoneme id.
LOW, HIGH, SPEAKER, NOISE = 0.55, 0.2, 0.06, 0.05
"""Amplitudes; `NOISE` is that of either noise tone at a scale of 1."""

ENDLESS = "!"
"""The phoneme that never ends in a voice made with `endless`."""

CHOIR, CHOIR_SPEAKERS = "en_US-choir-low", ("alto", "tenor", "bass")

_GRAPH = """
<ir_version: 8, opset_import: ["": 17]>
voice (int64[1, phonemes] input, int64[1] input_lengths, float[3] scales{sid_input})
    => (float[{output_shape}] output)
<
    float[1] longest = {{{base}}}, float[1] rate = {{{rate}.0}}, float[1] turn = {{6.283185307179586}},
    float[1] low_0 = {{{low_0}.0}}, float[1] high_0 = {{{high_0}.0}}, float[1] tone_step = {{{tone_step}.0}},
    float[1] speaker_0 = {{{speaker_0}.0}}, float[1] speaker_step = {{{speaker_step}.0}},
    float[1] noise_hz = {{{noise_hz}.0}}, float[1] noise_w_hz = {{{noise_w_hz}.0}},
    float[1] low_volume = {{{low}}}, float[1] high_volume = {{{high}}},
    float[1] speaker_volume = {{{speaker}}}, float[1] noise_volume = {{{noise}}},
    int64[1] gap = {{{gap}}}, int64[1] sixteen = {{16}}, int64[1] first = {{0}}, int64[1] flat = {{-1}},
    int64[1] time_axis = {{1}}, int64 zero = {{0}}, int64 one = {{1}}, int64[{output_rank}] shape = {{{shape}}},
    int64 symbols = {{{symbols}}}, int64 speakers = {{{speakers}}},
    int64 endless_id = {{{endless_id}}}, int64 forever = {{4611686018427387904}},
    bool yes = {{1}}, int64[2] matrix = {{64, 64}}, float[1] no_volume = {{0}}
>
{{
    asked = Slice (input, first, input_lengths, time_axis)
    asked_flat = Reshape (asked, flat)
    known = Range (zero, symbols, one)
    ids = Gather (known, asked_flat)
    noise, length, noise_w = Split <axis = 0> (scales)

    exact = Mul (longest, length)
    whole = Round (exact)
    each = Cast <to = 7> (whole)
    count = Shape (ids)
    samples = Mul (each, count)
    end = Squeeze (samples)
    time = Range (zero, end, one)
    index = Div (time, each)
    began = Mul (index, each)
    since = Sub (time, began)
    id = Gather (ids, index)

    since_float = Cast <to = 1> (since)
    seconds = Div (since_float, rate)
    angle = Mul (seconds, turn)

    high_half = Div (id, sixteen)
    high_whole = Mul (high_half, sixteen)
    low_half = Sub (id, high_whole)
    low_number = Cast <to = 1> (low_half)
    high_number = Cast <to = 1> (high_half)
    low_above = Mul (low_number, tone_step)
    high_above = Mul (high_number, tone_step)
    low_hz = Add (low_0, low_above)
    high_hz = Add (high_0, high_above)
    low_angle = Mul (low_hz, angle)
    high_angle = Mul (high_hz, angle)
    low_wave = Sin (low_angle)
    high_wave = Sin (high_angle)
    low_tone = Mul (low_wave, low_volume)
    high_tone = Mul (high_wave, high_volume)

    noise_angle = Mul (noise_hz, angle)
    noise_wave = Sin (noise_angle)
    noise_loud = Mul (noise, noise_volume)
    noise_tone = Mul (noise_wave, noise_loud)
    noise_w_angle = Mul (noise_w_hz, angle)
    noise_w_wave = Sin (noise_w_angle)
    noise_w_loud = Mul (noise_w, noise_volume)
    noise_w_tone = Mul (noise_w_wave, noise_w_loud)
    {speaker_tone}
    tones = Sum (low_tone, high_tone, noise_tone, noise_w_tone{speaker_term})

    sounding = Sub (each, gap)
    sounds = Less (since, sounding)
    sounds_float = Cast <to = 1> (sounds)
    speech = Mul (tones, sounds_float)
    {endless}
    output = Reshape (speech{after}, shape)
}}
"""

_SPEAKER_TONE = """
    known_speakers = Range (zero, speakers, one)
    known_speaker = Gather (known_speakers, sid)
    speaker_number = Cast <to = 1> (known_speaker)
    speaker_above = Mul (speaker_number, speaker_step)
    speaker_hz = Add (speaker_0, speaker_above)
    speaker_angle = Mul (speaker_hz, angle)
    speaker_wave = Sin (speaker_angle)
    speaker_tone = Mul (speaker_wave, speaker_volume)
"""

# Multiplies matrices for as long as nobody stops it, if the phoneme occurs; else not once.
_ENDLESS = """
    endless_here = Equal (ids, endless_id)
    endless_number = Cast <to = 7> (endless_here)
    endless_any = ReduceMax <keepdims = 0> (endless_number)
    rounds = Mul (endless_any, forever)
    nothing_yet = ConstantOfShape (matrix)
    worked = Loop (rounds, yes, nothing_yet) <body = work (int64 round, bool go, float[64, 64] before)
        => (bool go_on, float[64, 64] product) {
        go_on = Identity (go)
        product = MatMul (before, before)
    }>
    work = Reshape (worked, flat)
    work_sum = ReduceSum <keepdims = 1> (work)
    silence = Mul (work_sum, no_volume)
    speech_after = Add (speech, silence)
"""


def make_voice(
    folder: Path,
    name: str = "en_US-tones-medium",
    *,
    rate: int = 22_050,
    speakers: Sequence[str] = (),
    symbols: int = 256,
    endless: bool = False,
    **description: Any,
) -> Path:
    """Writes a voice as Piper keeps them: `NAME.onnx`, and `NAME.onnx.json` beside it.

    Args:
        folder: where to.
        name: LANGUAGE_REGION-NAME-QUALITY.
        rate: samples a second, 15,000 at least: the highest tone is at 7 kHz.
        speakers: their names, 8 at most; none makes a voice that knows of no speakers.
        symbols: the weights know phoneme ids below this.
        endless: a sentence with `ENDLESS` in it is never finished; it can only be cut off.
        description: keys of the .onnx.json to set differently.

    Returns:
        The path of the .onnx.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    onnx.save(_graph(rate, symbols, len(speakers), endless), path)
    describe(path, rate=rate, speakers=speakers, **description)
    return path


def describe(path: Path, *, rate: int, speakers: Sequence[str] = (), **description: Any) -> None:
    """Writes what lies beside a voice: see `make_voice`."""
    name = path.stem
    keys = {
        "audio": {"sample_rate": rate, "quality": name.rpartition("-")[2]},
        "espeak": {"voice": "en-us"},
        "language": {"code": name.partition("-")[0]},
        "inference": {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "num_symbols": 256,
        "num_speakers": max(1, len(speakers)),
        "speaker_id_map": {speaker: index for index, speaker in enumerate(speakers)},
        "piper_version": "1.0.0",
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(keys | description, ensure_ascii=False), "utf-8")


def _graph(rate: int, symbols: int, speakers: int, endless: bool) -> onnx.ModelProto:
    # Piper's own exports have either shape.
    shape = (1, 1, -1) if speakers else (1, 1, 1, -1)
    text = _GRAPH.format(
        base=round(SECONDS * rate, 3),
        rate=rate,
        gap=round(GAP * rate),
        low_0=LOW_HZ[0],
        high_0=HIGH_HZ[0],
        tone_step=LOW_HZ[1] - LOW_HZ[0],
        speaker_0=SPEAKER_HZ[0],
        speaker_step=SPEAKER_HZ[1] - SPEAKER_HZ[0],
        noise_hz=NOISE_HZ,
        noise_w_hz=NOISE_W_HZ,
        low=LOW,
        high=HIGH,
        speaker=SPEAKER,
        noise=NOISE,
        output_shape=", ".join("samples" if size < 0 else str(size) for size in shape),
        output_rank=len(shape),
        shape=", ".join(map(str, shape)),
        sid_input=", int64[1] sid" if speakers else "",
        speaker_tone=_SPEAKER_TONE if speakers else "",
        speaker_term=", speaker_tone" if speakers else "",
        symbols=symbols,
        speakers=speakers,
        endless=_ENDLESS if endless else "",
        after="_after" if endless else "",
        endless_id=DEFAULT_PHONEME_ID_MAP[ENDLESS][0],
    )
    model = parse_model(text)
    used = {name for node in model.graph.node for name in node.input}
    for constant in [each for each in model.graph.initializer if each.name not in used]:
        model.graph.initializer.remove(constant)
    onnx.checker.check_model(model, full_check=True)
    return model


def main(arguments: Sequence[str]) -> None:
    """Writes a voice of one speaker at 22,050 Hz and one of three at 16,000 Hz, to try by hand."""
    parser = argparse.ArgumentParser(prog="python -m scripts.make_test_models piper", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where to")
    folder = parser.parse_args(arguments).folder
    for path in (make_voice(folder), make_voice(folder, CHOIR, rate=16_000, speakers=CHOIR_SPEAKERS)):
        print(path)
