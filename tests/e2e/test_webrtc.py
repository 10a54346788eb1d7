"""Calls: a question over one track, the answer over the other, and the events over the data channel."""

from tests.e2e.call import calling
from tests.e2e.client import spoken, understood
from tests.e2e.conftest import Server
from tests.e2e.ears import hear

QUESTION = "what is your name"


async def test_a_spoken_question_is_answered_in_sound_that_says_so(server: Server) -> None:
    async with calling(server.port) as call:
        call.microphone.say(spoken(QUESTION))
        await call.wait_for("output_audio_buffer.stopped")
        (transcript,) = call.wire.of_type("conversation.item.input_audio_transcription.completed")
        assert understood(QUESTION, transcript["transcript"])
        (answer,) = call.wire.of_type("response.output_audio_transcript.done")
        started = call.time_of(call.wire.of_type("output_audio_buffer.started")[0])
        heard = hear(call.heard(started))
        assert set(heard.split()) & set(answer["transcript"].lower().replace(".", "").split()), heard
        assert "response.output_audio.delta" not in call.kinds
        assert "response.output_audio.done" in call.kinds
        assert call.kinds.index("response.content_part.added") < call.kinds.index("output_audio_buffer.started")
        assert call.kinds.index("response.done") < call.kinds.index("output_audio_buffer.stopped")


async def test_speaking_over_a_reply_stops_the_sound_and_the_history_has_what_was_played(server: Server) -> None:
    async with calling(server.port, model="echo") as call:
        call.ask("repeat 30")
        started = await call.wait_for("output_audio_buffer.started")
        await call.wait_for("response.done")
        call.microphone.say(spoken(QUESTION))
        speech = await call.wait_for("input_audio_buffer.speech_started")
        cleared = await call.wait_for("output_audio_buffer.cleared")
        assert cleared["response_id"] == started["response_id"]
        truncated = await call.wait_for("conversation.item.truncated")
        played_s = call.time_of(speech) - call.time_of(started)
        assert abs(truncated["audio_end_ms"] / 1000 - played_s) < 0.5, "by what was played, not by what was made"
        call.send(type="conversation.item.retrieve", item_id=truncated["item_id"])
        retrieved = await call.wait_for("conversation.item.retrieved")
        (whole,) = call.wire.of_type("response.output_audio_transcript.done")
        kept = retrieved["item"]["content"][0]["transcript"]
        assert whole["transcript"].startswith(kept)
        assert len(kept) < len(whole["transcript"]) / 2
        await call.wait_for("response.created", 2)
        quiet_from = call.time_of(cleared) + 0.3  # what is on its way, and in the client's own buffer
        second = call.time_of(await call.wait_for("output_audio_buffer.started", 2))
        assert not [at for at in call.loud(quiet_from) if at < second]
        print("voice to silence", max(at for at in call.loud(0) if at < second) - call.time_of(speech))
