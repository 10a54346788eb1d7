"""Which chat template a GGUF file brings, or the options give in its place."""

from pathlib import Path

from pipeline.errors import EngineError
from pipeline.llm.chat_template import CHATML, ChatTemplate, TemplateError
from pipeline.llm.llama_native import Model


def template_of(model: Model, path: Path, given: str | None) -> ChatTemplate:
    """Returns the template of a model that was read from `path`, or the one that the option `chat_template` gives.

    Raises:
        EngineError: it cannot be read.
    """
    vocabulary = model.vocabulary
    source = (model.chat_template() or CHATML) if given is None else _read(given)
    try:
        return ChatTemplate(source, bos=vocabulary.text(vocabulary.bos), eos=vocabulary.text(vocabulary.eos))
    except TemplateError as error:
        if given is not None:
            raise EngineError(f"The chat template cannot be read: {error}.", "Correct it.", "chat_template") from error
        raise EngineError(
            f"The chat template in {path} cannot be read: {error}.",
            "Name another GGUF file, or write a template of your own as `chat_template`.",
            "model",
        ) from error


def _read(given: str) -> str:
    """Returns the template that the option means: itself, or what is in the file.

    Raises:
        EngineError: there is no such file.
    """
    if "{{" in given or "{%" in given:
        return given
    try:
        return Path(given).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise EngineError(
            f"The chat template {given} cannot be read: {error}.",
            "Give the path of a Jinja file, or the text.",
            "chat_template",
        ) from error
