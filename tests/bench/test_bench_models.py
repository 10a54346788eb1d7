"""Models of the true shape: here a small one made the same way, since only the sizes differ."""

import pytest

from pipeline.llm.llama_cpp import LlamaCpp
from pipeline.types import Generated, GenerationRequest, Message, Prompt, TextDelta
from pipeline.workers import CancelToken
from scripts.make_bench_models import qwen3

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
