"""Reads a YAML file so that every later complaint about it can say where: file, line and key.

YAML is read with PyYAML's parser and the safe types, and a little more strictly: a key that occurs twice, a key
that is not text and a block that contains itself are errors. `${NAME}` in a text is the environment variable
NAME; unlike in plain YAML it needs no quotes inside `{…}`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml  # type: ignore[import-untyped]

from pipeline.errors import ConfigError

KeyPath: TypeAlias = tuple[str | int, ...]


class MachineError(ConfigError):
    """The file may be right, but this machine lacks what it asks for."""


_VARIABLE = re.compile(r"\$\{([^{}\n]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Braces would end a plain text inside `{…}`, so the parser is shown characters from the private use area instead,
# as many as there were, so that columns stay right.
_OPEN, _CLOSE = "\ue000\ue001", "\ue002"


@dataclass(frozen=True, slots=True)
class Document:
    """A file that has been read: its values as plain dicts, lists, texts and numbers, and where they stand."""

    file: Path
    value: object
    lines: Mapping[KeyPath, int] = field(compare=False, repr=False)
    """The line, from 1, of every key and list item."""

    def error(self, path: KeyPath, problem: str, mend: str) -> ConfigError:
        """Returns the error that names the file, the line and the key. `problem` and `mend` are sentences."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        line = f", line {self.lines[known]}" if known in self.lines else ""
        key = f", {dotted(path)}" if path else ""
        return ConfigError(f"{self.file}{line}{key}: {problem} {mend}")

    def machine_error(self, path: KeyPath, problem: str, mend: str) -> MachineError:
        """Returns the like of `error` for what is wrong with the machine rather than the file."""
        return MachineError(str(self.error(path, problem, mend)))

    def expand(self, value: object, path: KeyPath) -> object:
        """Returns `value` with the environment's variables put into its texts, at every depth.

        Raises:
            MachineError: a variable is not set.
            ConfigError: what stands in `${}` is no name.
        """
        if isinstance(value, str):
            return _VARIABLE.sub(lambda found: self._variable(found, path), value)
        if isinstance(value, dict):
            return {key: self.expand(inner, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.expand(inner, (*path, index)) for index, inner in enumerate(value)]
        return value

    def _variable(self, found: re.Match[str], path: KeyPath) -> str:
        name = found[1]
        if not _NAME.fullmatch(name):
            raise self.error(
                path,
                f"`{found[0]}` does not name an environment variable.",
                "Write it as ${NAME}, in letters, digits and _.",
            )
        if name not in os.environ:
            mend = f"Set it before the start (export {name}=…), or write the value in place of ${{{name}}}."
            raise self.machine_error(path, f"The environment variable {name} is not set.", mend)
        return os.environ[name]


def dotted(path: KeyPath) -> str:
    """Returns a key path as people write it: `models.mini.tts.voice`, `models.mini.llm.stop[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_document(file: Path) -> Document:
    """Reads a YAML file.

    Raises:
        ConfigError: it cannot be read, or is not YAML that means anything; says at which line and column.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: This is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(
            f"{file}: The file cannot be read: {error.strerror}. Name a file that can be with --config."
        ) from error
    text = _VARIABLE.sub(lambda found: f"{_OPEN}{found[1]}{_CLOSE}", text)
    try:
        reader = _Reader(file, text)
        return Document(file, reader.read(), reader.lines)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(file, error) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: This is not YAML: {error}. Remove what does not belong there.") from error


def _syntax_error(file: Path, error: Any) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    context = f" {error.context}" if error.context else ""
    problem = _restored(f"{error.problem or 'something is wrong'}{context}")
    if "\\t" in problem:
        mend = "Indent with spaces, not tabs."
    elif "mapping values are not allowed" in problem:
        mend = "Put a text that contains `: ` in quotes, and check the indentation."
    else:
        mend = "Check this line and the one before: indentation, brackets and quotes."
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return ConfigError(f"{file}{place}: This is not YAML: {problem}. {mend}")


def _restored(text: str) -> str:
    return text.replace(_OPEN, "${").replace(_CLOSE, "}")


class _Reader:
    """Turns YAML nodes into values and notes the lines of their keys."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._loader = yaml.SafeLoader(text)
        self._open: set[int] = set()
        self._merged: set[int] = set()
        self.lines: dict[KeyPath, int] = {}

    def read(self) -> object:
        node = self._loader.get_single_node()
        return None if node is None else self._value(node, ())

    def _value(self, node: Any, path: KeyPath) -> object:
        if isinstance(node, yaml.ScalarNode):
            value = self._loader.construct_object(node)
            return _restored(value) if isinstance(value, str) else value
        if id(node) in self._open:
            raise self._error(
                node, path, "This block contains itself.", "Remove the alias (`*…`) that leads back to it."
            )
        self._open.add(id(node))
        value = self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._list(node, path)
        self._open.remove(id(node))
        return value

    def _list(self, node: Any, path: KeyPath) -> list[object]:
        values = []
        for index, item in enumerate(node.value):
            self.lines[*path, index] = item.start_mark.line + 1
            values.append(self._value(item, (*path, index)))
        return values

    def _mapping(self, node: Any, path: KeyPath) -> dict[str, object]:
        if id(node) not in self._merged:
            self._merged.add(id(node))
            self._refuse_twins(node, path)
            # Puts what `<<: *anchor` stands for before the block's own keys, which then win.
            self._loader.flatten_mapping(node)
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            self.lines[*path, key] = key_node.start_mark.line + 1
            values[key] = self._value(value_node, (*path, key))
        return values

    def _refuse_twins(self, node: Any, path: KeyPath) -> None:
        first: dict[str, int] = {}
        for key_node, _ in node.value:
            key = self._key(key_node, path)
            line = key_node.start_mark.line + 1
            if key in first:
                problem = f"This key is already in line {first[key]}; only one of them could count."
                raise self._error(key_node, (*path, key), problem, "Remove or rename one.")
            first[key] = line

    def _key(self, node: Any, path: KeyPath) -> str:
        key = node.value if node.tag.endswith(":merge") else self._loader.construct_object(node)
        if not isinstance(key, str):
            written = node.value if isinstance(node, yaml.ScalarNode) else "this"
            raise self._error(
                node, path, f"The key `{written}` is not text to YAML.", f'Write it in quotes: "{written}".'
            )
        return _restored(key)

    def _error(self, node: Any, path: KeyPath, problem: str, mend: str) -> ConfigError:
        lines = {**self.lines, path: node.start_mark.line + 1}
        return Document(self._file, None, lines).error(path, problem, mend)
