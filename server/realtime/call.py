"""Sessions that are calls: the user's sound comes beside the events, and the server plays the replies' itself."""

from dataclasses import dataclass

from server.realtime.refusal import Refusal
from server.realtime.schema import AudioFormat, PcmFormat, Session


@dataclass(frozen=True, slots=True)
class Call:
    """A call. `hears`: whether the user's sound comes with it; else the client appends what there is to be heard.

    `max_event` is the most bytes of an event that its client takes; 0: any number.
    """

    hears: bool = True
    max_event: int = 0

    def check_append(self) -> None:
        """Raises:
        Refusal: sound does not come in events here.
        """
        if self.hears:
            raise Refusal(
                "invalid_value",
                "The sound of a call comes by its audio track. To append some instead, offer that track as `recvonly`.",
                "type",
            )

    def check_session(self, session: Session) -> None:
        """Raises:
        Refusal: the session asks for what calls do not have.
        """
        self.check_format(session.audio.output.format, "session.audio.output.format")
        if self.hears:
            self.check_format(session.audio.input.format, "session.audio.input.format")

    def check_format(self, format: AudioFormat, where: str) -> None:
        """Raises:
        Refusal: the track has its own.
        """
        if not isinstance(format, PcmFormat):
            raise Refusal(
                "invalid_value",
                f"Sound is Opus on the track of a call, whatever '{where}' says: leave it out, or say 'audio/pcm'.",
                where,
            )
