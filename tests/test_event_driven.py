"""Nothing in the path polls or sleeps: who waits is woken by what it waits for. Exceptions are listed, with why.

Read from the code: every `sleep`; every timer; every wait with a time limit within a loop, which is how polling looks.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.test_architecture import files, parse

SLEEPS = {
    "server/session.py:run": "gives the loop to others between two events; waits for nothing",
    "server/session.py:_read": "the same, between many frames that came at once",
    "server/filtering.py:_filtered": "the same, between two pieces of a long append",
    "server/metrics.py:watch": "watches the loop for as long as whoever asks wants to",
    "server/webrtc/mouth.py:recv": "a track: its packets are sent in real time, when they are due",
    "server/bench/rig.py:run": "a microphone: sends frames in real time, when they are due",
    "server/cli/talk_file.py:_send": "a microphone",
    "server/cli/talk_file.py:_send_frame": "a microphone",
    "server/cli/say.py:_playing": "what the device still holds is to be heard before it is closed",
}

TIMERS = {
    "server/session.py:_set_idle_timer": "the client's `idle_timeout_ms`",
    "server/voice.py:_look_later": "finds a detector that hangs, only while sound is before it",
    "server/metrics.py:__init__": "a probe of the loop's lag, only while somebody asks",
    "server/metrics.py:_tick": "the same",
}

LIMITED_WAITS = {
    "pipeline/workers.py:values": "the longest that an engine may give no sign of life",
    "pipeline/workers.py:_iterate_async": "the same, of an engine on the loop",
    "pipeline/workers.py:result": "the same, of a worker: begins anew only when a call has ended meanwhile",
    "pipeline/workers.py:wait_out": "goes on waiting, after it was cancelled, to one deadline",
    "pipeline/workers.py:_run": "how long a thread without work lingers; then it ends",
    "pipeline/llm/openai.py:_try": "how long a service may take to end a stream that has said all",
}

_WAITS = {"wait", "wait_for", "get", "acquire", "join", "poll", "select", "timeout", "timeout_at", "recv"}


def found(file: str) -> Iterator[tuple[str, str]]:
    """Yields what sleeps, sets a timer or waits for a limited time in a loop, as `(kind, file:function)`."""

    def visit(node: ast.AST, function: str, loops: bool) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                yield from visit(child, getattr(child, "name", function), False)
                continue
            if isinstance(child, ast.Call) and (kind := kind_of(child, loops)):
                yield kind, f"{file}:{function}"
            yield from visit(child, function, loops or isinstance(child, ast.While))

    yield from visit(parse(file), "", False)


def kind_of(call: ast.Call, in_a_loop: bool) -> str | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in {"sleep", "sleep_ms"}:
        return "sleeps"
    if name in {"call_later", "call_at", "Timer", "setitimer"}:
        return "timers"
    if in_a_loop and name in _WAITS and is_limited(call, name):
        return "limited waits"
    return None


def is_limited(call: ast.Call, name: str) -> bool:
    if any(keyword.arg == "timeout" and not is_none(keyword.value) for keyword in call.keywords):
        return True
    if name in {"timeout", "timeout_at", "poll", "select"}:
        return not (len(call.args) == 1 and is_none(call.args[0]))
    # `wait_for(what, seconds)`, `wait(seconds)`, `join(seconds)`; `get(key)` of a mapping is another thing.
    return (name == "wait_for" and len(call.args) == 2) or (name in {"wait", "join"} and is_number(call.args))


def is_number(arguments: list[ast.expr]) -> bool:
    return (
        len(arguments) == 1 and isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, int | float)
    )


def is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


@pytest.mark.parametrize(
    ("kind", "reasons"), [("sleeps", SLEEPS), ("timers", TIMERS), ("limited waits", LIMITED_WAITS)]
)
def test_who_waits_is_woken_by_what_it_waits_for(kind: str, reasons: dict[str, str]) -> None:
    places = {place for file in files("pipeline", "server") for what, place in found(file) if what == kind}
    assert places - reasons.keys() == set(), "wait for an event instead, or say here why not"
    assert reasons.keys() - places == set(), "they do it no more"


def test_polling_is_recognised() -> None:
    loop = ast.parse(
        "async def f():\n while True:\n  await asyncio.wait_for(queue.get(), 0.1)\n  thread.join(timeout=1)"
    )
    calls = [node for node in ast.walk(loop) if isinstance(node, ast.Call)]
    assert [kind_of(call, True) for call in calls].count("limited waits") == 2
    assert kind_of(ast.parse("time.sleep(0.1)", mode="eval").body, False) == "sleeps"  # type: ignore[arg-type]
    assert kind_of(ast.parse("names.get(key)", mode="eval").body, True) is None  # type: ignore[arg-type]
