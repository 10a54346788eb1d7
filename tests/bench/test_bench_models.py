"""Models of the true shape: here small ones made the same way, since only the sizes differ."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.llm.llama_cpp import LlamaCpp
from pipeline.transcription.faster_whisper import FasterWhisper
from pipeline.tts.piper import Piper
from pipeline.types import LISTENING_RATE, Generated, GenerationRequest, Message, Prompt, SpeechRequest, TextDelta
from pipeline.workers import CancelToken
from scripts.make_bench_models import piper, qwen3, whisper

SMALL = qwen3.Shape(width=128, hidden=192, layers=2, heads=4, key_value_heads=2, head_width=32, vocabulary=8192)


@pytest.mark.parametrize("kind", qwen3.KINDS)
def test_it_says_its_reply_to_anything_and_stops(tmp_path, kind):
    path = qwen3.write(tmp_path / "small.gguf", SMALL, kind)
    engine = LlamaCpp(LlamaCpp.Options(model=str(path), context=1024, sequences=1))
    try:
        stream = engine.open()
        prompt = Prompt((Message("system", "Be brief."), Message("user", "What time is it?")))
        made = list(stream.generate(GenerationRequest(prompt), CancelToken()))
        stream.close()
    finally:
        engine.close()
    assert "".join(each.text for each in made if isinstance(each, TextDelta)) == qwen3.REPLY
    (generated,) = [each for each in made if isinstance(each, Generated)]
    assert generated.reason == "stop"


def test_no_word_of_the_reply_comes_twice():
    words = qwen3.REPLY.split()
    assert len(words) == len(set(words))


def test_the_shapes_have_the_sizes_that_they_are_named_after():
    for name, billions in (("qwen3-0.6b", 0.44), ("qwen3-1.7b", 1.41)):  # without the embeddings
        shape = qwen3.SHAPES[name]
        attention = shape.width * shape.head_width * 2 * (shape.heads + shape.key_value_heads)
        parameters = shape.layers * (attention + 3 * shape.width * shape.hidden)
        assert parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_whisper_hears_its_transcript_in_anything_and_stops(tmp_path):
    folder = whisper.write(tmp_path / "whisper", whisper.Shape(width=64, layers=1, heads=2))
    engine = FasterWhisper(FasterWhisper.Options(model=str(folder), device="cpu"))
    try:
        for seconds, language in ((0.5, None), (3, None), (12, "en")):
            stream = engine.open(language)
            noise = np.random.default_rng(0).standard_normal(round(seconds * LISTENING_RATE))
            stream.feed((3000 * noise).astype(np.int16))
            transcript = stream.finish()
            assert transcript.text == whisper.TRANSCRIPT
            assert transcript.tokens == len(whisper.TRANSCRIPT.split()) + 1  # the question mark
            assert transcript.language == "en"
    finally:
        engine.close()


def test_no_token_of_the_transcript_comes_twice():
    tokens = whisper.Tokens([whisper.TRANSCRIPT, f" {whisper.TRANSCRIPT}"], whisper.LANGUAGES, whisper.TEXT_TOKENS)
    following = whisper.chain(tokens)
    assert len(following) == len(set(following))
    assert tokens.size == 51_865


def test_the_whispers_have_the_sizes_of_openais():
    # https://github.com/openai/whisper/blob/main/README.md#available-models-and-languages
    for name, millions in (("whisper-tiny", 39), ("whisper-base", 74), ("whisper-small", 244)):
        shape = whisper.SHAPES[name]
        parameters = 51_865 * shape.width + (1500 + 448) * shape.width + shape.layers * 28 * shape.width**2
        parameters += 3 * (shape.mels + shape.width) * shape.width
        assert parameters / 1e6 == pytest.approx(millions, rel=0.04)


def test_piper_speaks_about_as_long_as_a_voice_would(tmp_path):
    small = replace(piper.SHAPES["piper-medium"], width=8, hidden=8, layers=1, decoder_width=8)
    engine = Piper(Piper.Options(voice=str(piper.write(tmp_path / "en_US-small-medium.onnx", small))))
    text = "The quick brown fox jumps over the lazy dog, and nobody knows what it wants over there."
    (sentence,) = engine._choices["en_US-small-medium"].voice.sentences(text)
    sound = np.concatenate(list(engine.synthesize(SpeechRequest(text), CancelToken())))
    symbols = len(sentence.ids) / 2
    assert 12 <= symbols / (len(sound) / engine.rate - 0.2) <= 15
    assert np.abs(sound).max() > 0.5 * 32767


def test_the_voices_have_the_sizes_of_pipers():
    # Files of 63 and 114 MB, in float32.
    for name, megabytes in (("piper-medium", 63), ("piper-high", 114)):
        voice = piper._Voice(piper.SHAPES[name], 0, 0)
        voice.add()
        size = sum(weight.nbytes for weight in voice.graph._weights.values())
        assert size / 1e6 == pytest.approx(megabytes, rel=0.01)
