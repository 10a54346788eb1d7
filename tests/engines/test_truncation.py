"""What is left out of conversations that are too long: by policy, and by the real tokens of a model."""

from collections.abc import Iterator, Sequence

import pytest

from pipeline.errors import PromptTooLongError
from pipeline.llm.llama_cpp import LlamaCpp
from pipeline.llm.truncation import Scale, estimate, left_out
from pipeline.types import AUTO, Generated, GenerationRequest, Image, Message, Prompt, Tool, ToolCall, Truncation
from tests.engines import tiny_gguf
from tests.engines.llama import end, generate

SYSTEM = Message("system", "s" * 10)
CALLED = Message("assistant", "", calls=(ToolCall("c", "f", "{}" + "x" * 17),))
RESULT = Message("tool", "r" * 20, call_id="c")


def ask(length: int = 20) -> Message:
    return Message("user", "u" * length)


def tell(length: int = 20) -> Message:
    return Message("assistant", "a" * length)


def gone(
    messages: Sequence[Message], truncation: Truncation = AUTO, context: int | None = 400, reply: int | None = 100
) -> list[int]:
    """The indices left out, with a letter to a token."""

    def size(message: Message) -> int:
        return len(message.text) + sum(len(call.name + call.arguments) for call in message.calls)

    def whole(without: frozenset[int]) -> int:
        return sum(size(message) for index, message in enumerate(messages) if index not in without)

    return sorted(left_out(messages, truncation, Scale(whole, size), context, reply))


def keep(ratio: float, most: int | None = None) -> Truncation:
    return Truncation("retention_ratio", ratio, most)


DISABLED = Truncation("disabled")


def talk(turns: int) -> list[Message]:
    """A conversation of so many turns of 40 tokens after 10 of instructions, and a question of 20."""
    return [SYSTEM, *[message for _ in range(turns) for message in (ask(), tell())], ask()]


def test_what_fits_is_left_as_it_is() -> None:
    for truncation in (AUTO, DISABLED, keep(0.5), keep(0.1, 270)):
        assert gone(talk(6), truncation) == []


def test_a_quarter_of_the_context_goes_at_a_time_so_that_prompts_begin_alike() -> None:
    assert gone(talk(7)) == [1, 2, 3, 4, 5, 6], "310 tokens into 300: 100 of them go, in whole turns"
    assert gone(talk(8)) == gone(talk(7))
    assert len(gone(talk(10))) > 6


def test_with_truncation_disabled_too_long_is_an_error_that_says_how_long() -> None:
    with pytest.raises(PromptTooLongError, match=r"310 tokens.*300") as caught:
        gone(talk(7), DISABLED)
    assert caught.value.kind == "invalid_request_error"


def test_the_ratio_is_kept_of_what_is_allowed_after_the_instructions() -> None:
    messages = talk(7)
    left = [message for index, message in enumerate(messages) if index not in gone(messages, keep(0.5))]
    assert left[0] is SYSTEM
    assert sum(len(message.text) for message in left[1:]) <= 0.5 * 290
    assert gone(messages, keep(0.9)) == [1, 2], "300 tokens of conversation into 290: 261 may stay"


def test_a_limit_of_the_clients_own_counts_where_it_is_smaller() -> None:
    assert gone(talk(4), keep(1.0, 150)) == [1, 2], "180 tokens into 150"
    assert gone(talk(4), keep(0.7, 150)) == [1, 2, 3, 4], "into 105"
    assert gone(talk(4), keep(1.0, 150), context=None, reply=None) == [1, 2], "where the context is not known"
    assert gone(talk(9), keep(1.0, 10_000)) != []


def test_what_was_left_out_once_stays_out_until_there_is_too_much_again() -> None:
    """That is what the ratio is for: the prompts of the turns between begin alike."""
    firsts = [len(gone(talk(turns), keep(0.5, 200))) for turns in range(3, 14)]
    assert firsts == sorted(firsts)
    assert len(set(firsts)) < len(firsts) // 2


def test_calls_stay_or_go_with_their_results() -> None:
    messages = [SYSTEM, ask(), CALLED, RESULT, tell(), *talk(6)[1:]]
    for truncation in (AUTO, keep(0.8), keep(0.6, 200)):
        out = set(gone(messages, truncation))
        assert out >= {1, 2, 3, 4} or out.isdisjoint({1, 2, 3, 4})
        assert out


def test_a_turn_of_many_calls_loses_the_oldest_of_them_in_pairs() -> None:
    messages = [SYSTEM, ask(), *[CALLED, RESULT] * 10]
    out = gone(messages)
    assert out
    assert out == list(range(2, 2 + len(out)))
    assert len(out) % 2 == 0
    assert max(out) < len(messages) - 2, "the newest call stays, with its result"


def test_instructions_and_what_was_said_last_are_never_left_out() -> None:
    late = Message("system", "l" * 20)
    messages = [SYSTEM, ask(), late, tell(), *talk(8)[1:]]
    for truncation in (AUTO, keep(0.0), keep(0.0, 1)):
        out = gone(messages, truncation)
        assert 0 not in out
        assert 2 not in out
        assert len(messages) - 1 not in out
    for truncation in (AUTO, keep(0.5)):
        with pytest.raises(PromptTooLongError):
            gone([SYSTEM, ask(), tell(), ask(400)], truncation)


def test_of_a_context_that_is_not_known_nothing_is_too_long() -> None:
    for truncation in (AUTO, DISABLED, keep(0.5)):
        assert gone(talk(1000), truncation, context=None) == []


def test_tokens_counted_elsewhere_are_estimated() -> None:
    hello = Message("user", "Hello there, how are you today?")
    assert 8 <= estimate([hello]) <= 16
    assert estimate([hello], [Tool("f", "Does something.")]) > estimate([hello])
    assert estimate([Message("user", "你好" * 100)]) > 100
    image = Image(b"", "image/png", 1024, 1024)
    assert estimate([Message("user", "", images=(image,))]) > 765


# --- by the tokens of a model -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    weights = tiny_gguf.write(tmp_path_factory.mktemp("weights") / "tiny.gguf", never_ends=True)
    engine = LlamaCpp(LlamaCpp.Options(model=str(weights), temperature=0, context=512, threads=1))
    yield engine
    engine.close()


def long_talk(turns: int) -> Prompt:
    messages = [Message("system", "Be brief.")]
    for turn in range(turns):
        messages += [Message("user", f"Question {turn}."), Message("assistant", f"Answer {turn}.")]
    return Prompt((*messages, Message("user", "And now?")))


def test_a_model_is_told_no_more_than_the_client_allows(engine: LlamaCpp) -> None:
    prompt = long_talk(12)
    base = end(generate(engine.open(), GenerationRequest(Prompt(prompt.messages[:1]), max_tokens=2))).input_tokens
    request = GenerationRequest(prompt, max_tokens=2, truncation=Truncation("retention_ratio", 0.5, 200))
    generated = end(generate(engine.open(), request))
    assert isinstance(generated, Generated)
    assert generated.left_out
    assert 0 not in generated.left_out
    assert len(prompt.messages) - 1 not in generated.left_out
    assert generated.input_tokens - base <= 200
    kept = tuple(message for index, message in enumerate(prompt.messages) if index not in generated.left_out)
    again = end(generate(engine.open(), GenerationRequest(Prompt(kept), max_tokens=2)))
    assert again.input_tokens == generated.input_tokens, "what is counted is what the model was told"
    whole = end(generate(engine.open(), GenerationRequest(long_talk(1), max_tokens=2)))
    assert not whole.left_out


def test_a_model_that_may_leave_nothing_out_refuses(engine: LlamaCpp) -> None:
    request = GenerationRequest(long_talk(100), max_tokens=2, truncation=Truncation("disabled"))
    with pytest.raises(PromptTooLongError):
        generate(engine.open(), request)
    assert end(generate(engine.open(), GenerationRequest(long_talk(100), max_tokens=2))).left_out
