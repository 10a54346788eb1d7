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
