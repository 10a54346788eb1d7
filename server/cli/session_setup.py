"""What `talk` and `bench` ask of a session, whatever the server's defaults are."""

from collections.abc import Mapping

from server.cli.realtime_client import RealtimeClient

_TRANSCRIBER = "whisper-1"
"""The name that every server of the protocol takes; Parley leads it to the pipeline's own."""


async def prepare(
    client: RealtimeClient,
    changes: Mapping[str, object],
    *,
    interrupt_response: bool = True,
    turn_detection: bool = True,
    silence_ms: int | None = None,
) -> None:
    """Asks for the user's changes, the transcript of what is said, and turns that end by silence (or by hand).

    With `silence_ms`, so much silence ends a turn, and nothing else.

    Raises:
        RunFailedError: the server refuses.
    """
    now = (client.session.get("audio") or {}).get("input") or {}
    listening: dict[str, object] = {"turn_detection": None}
    if turn_detection:
        detection = now.get("turn_detection") or {"type": "server_vad"}
        if silence_ms is not None:
            detection = {"type": "server_vad", "silence_duration_ms": silence_ms}
        listening["turn_detection"] = {
            **detection,
            "create_response": True,
            "interrupt_response": interrupt_response,
        }
    if not now.get("transcription"):
        listening["transcription"] = {"model": _TRANSCRIBER}
    audio = changes.get("audio")
    wanted = {**audio, "input": listening} if isinstance(audio, dict) else {"input": listening}
    await client.update({**changes, "audio": wanted})
