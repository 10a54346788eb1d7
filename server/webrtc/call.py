"""One call: a peer connection around a session. Events over its data channel, sound over its tracks."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.exceptions import InvalidStateError

from pipeline.audio import pcm16_to_bytes
from pipeline.types import Pcm16
from server.outbound import Outbound, SlowClient
from server.realtime.inbox import SoundArrived
from server.realtime.refusal import Refusal
from server.session import Session
from server.webrtc.ear import Ear
from server.webrtc.mouth import Mouth
from server.webrtc.offer import Offer
from server.webrtc.ports import Path, Ports

log = logging.getLogger(__name__)

CHANNEL = "oai-events"
"""The data channel that the events go over."""

CONNECT_S = 30.0
"""How long a client may take from the answer until its data channel is open."""

GONE_S = 15.0
"""How long nothing may come from a client: every few seconds it is asked whether it still wants to be sent to, and
answers (RFC 7675)."""

MOST_UNREAD = 3000
"""Frames of sound, 20 ms each, and events that wait to be read: a minute. What comes then is dropped."""

_BUFFERED = 64 * 1024
"""Bytes that aiortc may hold of what is on its way to the client; what waits before that is counted by `Outbound`."""


class Connection:
    """A call under way. `run` it until it ends; `hang_up` ends it."""

    def __init__(self, begin: Callable[[], Session], offer: Offer, ports: Ports) -> None:
        """`begin` makes the session, when the client is there."""
        self._begin = begin
        self._offer = offer
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._ports = ports
        self._paths: list[Path] = []
        self._ear = Ear(self._hear) if offer.hears else None
        self._mouth = Mouth(self._ear.tick if self._ear is not None else _nothing)
        self._incoming: asyncio.Queue[str | bytes | SoundArrived | None] = asyncio.Queue()
        self._channel: Any = None
        self._open = asyncio.Event()
        self._over = asyncio.Event()
        self._drained = asyncio.Event()
        self._peer.on("datachannel", self._take_channel)
        self._peer.on("connectionstatechange", self._look_at_state)

    async def answer(self) -> str:
        """Returns the SDP answer; from now on the client may connect.

        Raises:
            Refusal: aiortc cannot answer the offer.
        """
        transceiver = self._peer.addTransceiver(self._mouth, "sendrecv")
        opus = [each for each in RTCRtpSender.getCapabilities("audio").codecs if each.mimeType.lower() == "audio/opus"]
        transceiver.setCodecPreferences(opus)
        if self._ear is not None:
            transceiver.receiver._handle_rtp_packet = self._take_packet  # type: ignore[method-assign]
        await self._ports.refresh()
        try:
            self._paths = self._ports.share(transceiver.receiver.transport.transport._connection)
            await self._peer.setRemoteDescription(RTCSessionDescription(self._offer.sdp, "offer"))
            await self._peer.setLocalDescription(await self._peer.createAnswer())
        except Exception as error:  # aiortc says in many ways what it cannot do
            log.info("an offer could not be answered", exc_info=True)
            problem = f"The SDP offer cannot be answered: {type(error).__name__}: {error}."
            raise Refusal("invalid_offer", problem, "sdp") from None
        sdp: str = self._peer.localDescription.sdp
        return sdp

    async def run(self) -> None:
        """Serves the call until it ends; when this returns, nothing of it is left."""
        tasks = [asyncio.create_task(self._watch(), name="call watch")]
        if not self._offer.speaks:
            tasks.append(asyncio.create_task(self._keep_time(), name="call time"))
        try:
            await self._until_over(self._open.wait(), CONNECT_S)
            if self._over.is_set() or not self._open.is_set():
                return
            session = self._begin()
            self._mouth.player = session.player
            tasks.append(asyncio.create_task(self._write(session.outbound), name="call writer"))
            await session.run(self._frames())
        except SlowClient:
            log.warning("a call was ended: its client does not read what it is sent")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.close()

    async def close(self) -> None:
        """Ends the connection; also of a call that has not been run."""
        self._mouth.stop()
        await self._peer.close()
        for path in self._paths:
            await path.close()

    def hang_up(self) -> None:
        """Ends the call."""
        if not self._over.is_set():
            self._over.set()
            self._incoming.put_nowait(None)

    async def _until_over(self, awaited: Any, timeout: float) -> None:
        waiting = [asyncio.ensure_future(awaited), asyncio.ensure_future(self._over.wait())]
        try:
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    # --- what comes in ---

    async def _frames(self) -> AsyncIterator[str | bytes | SoundArrived]:
        while (frame := await self._incoming.get()) is not None:
            yield frame

    def _take_channel(self, channel: Any) -> None:
        if channel.label != CHANNEL or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.bufferedAmountLowThreshold = _BUFFERED
        channel.on("bufferedamountlow", self._drained.set)
        channel.on("message", self._take_message)
        channel.on("close", self.hang_up)
        self._open.set()

    def _take_message(self, message: str | bytes) -> None:
        self._take(message)

    async def _take_packet(self, packet: Any, arrival_time_ms: int) -> None:
        """Takes a packet of RTP in the place of aiortc's receiver: see `Ear`."""
        if self._ear is not None and self._open.is_set():
            self._ear.take(packet.ssrc, packet.sequence_number, packet.timestamp, packet.payload)

    def _hear(self, samples: Pcm16) -> None:
        self._take(SoundArrived(pcm16_to_bytes(samples)))

    def _take(self, frame: str | bytes | SoundArrived) -> None:
        if self._incoming.qsize() < MOST_UNREAD:
            self._incoming.put_nowait(frame)
        elif not isinstance(frame, SoundArrived):
            log.warning("a call was ended: its client sends more events than can be read")
            self.hang_up()

    # --- what goes out ---

    async def _write(self, outbound: Outbound) -> None:
        try:
            while True:
                frame = await outbound.get()
                self._channel.send(frame)
                while self._channel.bufferedAmount > _BUFFERED:
                    self._drained.clear()
                    await self._drained.wait()
                outbound.sent(frame)
        except InvalidStateError:
            pass  # the channel is closed: whoever reads from it ends the session
        finally:
            outbound.close()

    async def _keep_time(self) -> None:
        """Has time go on where no sound goes out, so that nobody asks the mouth for any."""
        while True:
            await self._mouth.recv()

    # --- whether the client is there ---

    def _look_at_state(self) -> None:
        if self._peer.connectionState in ("failed", "closed"):
            self.hang_up()

    async def _watch(self) -> None:
        await self._until_over(self._open.wait(), CONNECT_S)
        while (left := max((path.heard for path in self._paths), default=0.0) + GONE_S - time.monotonic()) > 0:
            await self._until_over(self._over.wait(), left)
        log.info("a call was ended: nothing came from its client for %g s", GONE_S)
        self.hang_up()


def _nothing() -> None:
    pass
