"""How the tests of llama-cpp ask for replies, and read them."""

from pipeline.llm.llama_cpp import LlamaCpp, LlamaCppStream
from pipeline.types import Generated, GenerationRequest, Message, ModelOutput, Prompt, TextDelta, ToolCallDelta
from pipeline.workers import CancelToken


def request(*texts: str, system: str = "", max_tokens: int | None = None) -> GenerationRequest:
    """A conversation of which the user begins."""
    roles = ("user", "assistant") * len(texts)
    spoken = tuple(Message(role, text) for role, text in zip(roles, texts, strict=False))  # type: ignore[arg-type]
    return GenerationRequest(Prompt(((Message("system", system),) if system else ()) + spoken), max_tokens)


def generate(stream: LlamaCppStream, asked: GenerationRequest, cancel: CancelToken | None = None) -> list[ModelOutput]:
    return list(stream.generate(asked, cancel or CancelToken()))


def text(outputs: list[ModelOutput]) -> str:
    return "".join(output.text for output in outputs if isinstance(output, TextDelta))


def calls(outputs: list[ModelOutput]) -> list[tuple[str, str]]:
    """The calls of a reply: names and arguments. Each begins with its name, which comes once."""
    made: list[tuple[str, str]] = []
    for output in outputs:
        if isinstance(output, ToolCallDelta):
            if output.index == len(made):
                assert output.name
                made.append((output.name, output.arguments))
            else:
                assert output.index == len(made) - 1
                assert not output.name
                made[-1] = (made[-1][0], made[-1][1] + output.arguments)
    return made


def end(outputs: list[ModelOutput]) -> Generated:
    assert isinstance(outputs[-1], Generated)
    return outputs[-1]


def spell(engine: LlamaCpp, tokens: list[int]) -> str:
    """What tokens say, control tokens too."""
    return b"".join(engine._model.vocabulary._spelling(token) for token in tokens).decode()
