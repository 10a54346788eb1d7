"""Tools that are `strict`: a call of one keeps to its schema, or the reply fails.

An engine that draws within a grammar keeps to it by itself; a service is told `strict`, and may or may not know it.
"""

import json
from collections.abc import Sequence

from pipeline.errors import StageError
from pipeline.json_schema import JsonSchema
from pipeline.types import Generated, ModelOutput, Tool, ToolCallDelta


class StrictCalls:
    """Watches the parts of one reply, one after the other (reply_parts.py)."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        """Raises UncheckedSchemaError when it cannot be said what a strict tool's schema allows."""
        self._schemas = {tool.name: JsonSchema(dict(tool.parameters)) for tool in tools if tool.strict}
        self._name = ""
        self._index: int | None = None
        self._arguments = ""

    def see(self, part: ModelOutput) -> None:
        """Takes the next part, before it is sent.

        Raises:
            StageError: the call before it does not keep to its schema.
        """
        goes_on = isinstance(part, ToolCallDelta) and part.index == self._index
        cut = isinstance(part, Generated) and part.reason == "max_tokens"
        if not (goes_on or cut):
            self._judge()
            self._index = None
        if isinstance(part, ToolCallDelta):
            if not goes_on:
                self._name, self._index, self._arguments = part.name or "", part.index, ""
            self._arguments += part.arguments

    def _judge(self) -> None:
        schema = self._schemas.get(self._name) if self._index is not None else None
        if schema is not None and not _allows(schema, self._arguments):
            raise StageError(
                "llm",
                f"The model called `{self._name}` with arguments that its schema does not allow, and it is `strict`.",
            )


def _allows(schema: JsonSchema, arguments: str) -> bool:
    try:
        return schema.allows(json.loads(arguments or "{}"))
    except (ValueError, RecursionError):
        return False
