"""`parley talk` with a microphone and a loudspeaker: it never interrupts itself, and is interrupted at once."""

import asyncio
import base64
import contextlib
import io
import os
import signal

import numpy as np
import pytest
from rich.console import Console

from server.cli import main, talk_live
from server.cli.failure import RunFailedError
from server.cli.playback import Playback
from server.cli.talk_live import SHORTEST_S, TAIL_S, LiveTalk
from server.cli.view import View
from tests.cli.fake_server import Answer, FakeServer, leaves_no_thread, tone

RATE = 24_000
BLOCK = tone(0.02)


class FakeMicrophone:
    def __init__(self, rate=RATE):
        self.rate = rate
        self.open = False

    def start(self, deliver, ended):
        self.deliver, self.unplug, self.open = deliver, ended, True

    def close(self):
        self.open = False


class FakeSpeaker:
    latency_s = 0.05

    def __init__(self, rate=RATE):
        self.rate = rate
        self.open = False

    def start(self, fill, ended):
        self._fill, self.unplug, self.open = fill, ended, True

    def close(self):
        self.open = False

    def play(self, seconds):
        """Fetches and returns what is heard in so many seconds."""
        return self._fill(round(seconds * self.rate))


class FakeClient:
    """What the server says is put into `events`; what it is told is in `sent`."""

    def __init__(self):
        self.events = asyncio.Queue()
        self.sent = []
        self.sound = []

    async def receive(self):
        event = await self.events.get()
        if isinstance(event, Exception):
            raise event
        return event

    async def send(self, kind, **fields):
        self.sent.append({"type": kind, **fields})

    async def append(self, samples):
        self.sound.append(samples)


class Scene:
    """A conversation with fakes all around. Time passes only when `now` is moved."""

    def __init__(self, *, rate=RATE, **options):
        self.now = 100.0
        self.microphone, self.speaker, self.client = FakeMicrophone(rate), FakeSpeaker(rate), FakeClient()
        self.screen = io.StringIO()
        view = View(Console(file=self.screen, highlight=False, width=100))
        self.talk = LiveTalk(self.client, self.microphone, self.speaker, view, clock=lambda: self.now, **options)
        self.view = view

    async def __aenter__(self):
        self.running = asyncio.create_task(self.talk.run())
        await self.settle()
        return self

    async def __aexit__(self, *_):
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError, RunFailedError):
            await self.running

    async def settle(self):
        for _ in range(20):
            await asyncio.sleep(0)

    async def say(self, kind, **fields):
        """The server says something."""
        self.client.events.put_nowait({"type": kind, **fields})
        await self.settle()

    async def hear(self, samples=BLOCK):
        """The microphone hears something; returns what of it is sent."""
        before = len(self.client.sound)
        self.microphone.deliver(samples)
        await self.settle()
        return np.concatenate([np.zeros(0, np.int16), *self.client.sound[before:]])

    async def reply(self, seconds, words="Hello.", item="reply_0", finish=True):
        place = {"item_id": item, "response_id": "resp_0", "content_index": 0}
        await self.say("response.created", response={"id": "resp_0"})
        await self.say("response.output_audio_transcript.delta", delta=words, **place)
        await self.sound(seconds, item)
        if finish:
            await self.say("response.output_audio.done", **place)
            await self.say("response.done", response={"id": "resp_0", "status": "completed", "output": [{}]})

    async def sound(self, seconds, item="reply_0"):
        delta = base64.b64encode(tone(seconds).tobytes()).decode()
        await self.say("response.output_audio.delta", item_id=item, content_index=0, delta=delta)

    def told(self, kind):
        return [event for event in self.client.sent if event["type"] == kind]


# --- on loudspeakers ---


async def test_what_the_microphone_hears_is_sent_as_it_comes():
    async with Scene() as scene:
        assert (await scene.hear()).tolist() == BLOCK.tolist()


async def test_on_loudspeakers_the_reply_is_not_sent_back_but_time_goes_on():
    async with Scene() as scene:
        await scene.reply(0.5)
        sent = await scene.hear()
        assert len(sent) == len(BLOCK)
        assert not sent.any()


async def test_on_loudspeakers_the_microphone_opens_when_the_room_is_silent_again():
    async with Scene() as scene:
        await scene.reply(0.5)
        scene.speaker.play(0.4)
        assert not (await scene.hear()).any()
        scene.speaker.play(0.2)
        scene.now += scene.speaker.latency_s + TAIL_S - 0.01
        assert not (await scene.hear()).any(), "the echo of the last word is still in the room"
        scene.now += 0.02
        assert (await scene.hear()).tolist() == BLOCK.tolist()


# --- with headphones ---


async def test_with_headphones_the_microphone_stays_open_while_the_reply_plays():
    async with Scene(headphones=True) as scene:
        await scene.reply(0.5)
        assert (await scene.hear()).tolist() == BLOCK.tolist()


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
async def test_an_interruption_stops_the_sound_at_once_and_says_how_much_was_heard(rate):
    async with Scene(headphones=True, rate=rate) as scene:
        await scene.reply(1.0)
        assert scene.speaker.play(0.3).any()
        await scene.say("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms=0)
        assert not scene.speaker.play(0.3).any()
        [truncate] = scene.told("conversation.item.truncate")
        assert truncate["item_id"] == "reply_0"
        assert truncate["content_index"] == 0
        assert truncate["audio_end_ms"] == pytest.approx(300, abs=1)


async def test_what_still_comes_of_an_interrupted_reply_is_not_played():
    async with Scene(headphones=True) as scene:
        await scene.reply(1.0, finish=False)
        await scene.say("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms=0)
        await scene.sound(1.0)
        assert not scene.speaker.play(0.3).any()


async def test_a_reply_that_was_heard_to_its_end_is_not_truncated():
    async with Scene(headphones=True) as scene:
        await scene.reply(0.5)
        scene.speaker.play(0.6)
        await scene.say("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms=0)
        assert scene.told("conversation.item.truncate") == []


async def test_a_reply_that_waits_behind_another_is_cut_at_its_beginning():
    async with Scene(headphones=True) as scene:
        await scene.reply(1.0, item="reply_0")
        await scene.reply(1.0, item="reply_1")
        scene.speaker.play(0.25)
        await scene.say("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms=0)
        cuts = [(cut["item_id"], cut["audio_end_ms"]) for cut in scene.told("conversation.item.truncate")]
        assert cuts == [("reply_0", 250), ("reply_1", 0)]


async def test_words_are_shown_when_their_sound_begins_and_unheard_ones_never():
    place = {"item_id": "reply_0", "response_id": "resp_0", "content_index": 0}
    async with Scene(headphones=True) as scene:
        await scene.reply(0.5, words="First.", finish=False)
        await scene.say("response.output_audio_transcript.delta", delta=" Second.", **place)
        await scene.sound(0.5)
        await scene.say("response.output_audio_transcript.delta", delta=" Third.", **place)
        await scene.sound(0.5)
        scene.speaker.play(0.6)
        await scene.say("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms=0)
        await scene.hear()
        scene.view.end_reply()
        assert "parley  First. Second. — interrupted" in scene.screen.getvalue()
        assert "Third" not in scene.screen.getvalue()


async def test_a_reply_is_a_finished_line_when_it_has_been_heard():
    async with Scene() as scene:
        await scene.reply(0.5, words="Good morning.")
        await scene.hear()
        assert "Good morning." not in scene.screen.getvalue()
        scene.speaker.play(0.6)
        await scene.hear()
        assert "parley  Good morning." in scene.screen.getvalue()


async def test_what_the_server_heard_and_what_goes_wrong_is_shown():
    async with Scene() as scene:
        kind = "conversation.item.input_audio_transcription"
        await scene.say(f"{kind}.completed", item_id="item_0", transcript="hello there")
        await scene.say("error", error={"message": "Something is odd."})
        details = {"error": {"code": "tts_timeout"}}
        response = {"id": "resp_0", "status": "failed", "status_details": details, "output": []}
        await scene.say("response.done", response=response)
        for text in ("you     hello there", "Something is odd.", "failed: tts_timeout"):
            assert text in scene.screen.getvalue()


# --- push to talk ---


async def test_push_to_talk_sends_only_what_is_said_between_two_presses():
    async with Scene(push_to_talk=True) as scene:
        assert not len(await scene.hear())
        scene.talk.press_enter()
        for _ in range(15):
            assert len(await scene.hear()) == len(BLOCK)
        scene.talk.press_enter()
        assert not len(await scene.hear())
        assert [event["type"] for event in scene.client.sent] == ["input_audio_buffer.commit", "response.create"]


async def test_a_press_too_short_to_say_anything_is_forgotten():
    async with Scene(push_to_talk=True) as scene:
        scene.talk.press_enter()
        for _ in range(round(SHORTEST_S / 0.02) - 1):
            await scene.hear()
        scene.talk.press_enter()
        await scene.settle()
        assert [event["type"] for event in scene.client.sent] == ["input_audio_buffer.clear"]


async def test_a_press_interrupts_the_reply():
    async with Scene(push_to_talk=True) as scene:
        await scene.reply(1.0, finish=False)
        scene.speaker.play(0.1)
        scene.talk.press_enter()
        await scene.settle()
        assert not scene.speaker.play(0.1).any()
        assert [event["type"] for event in scene.client.sent] == ["conversation.item.truncate", "response.cancel"]
        assert scene.client.sent[0]["audio_end_ms"] == 100


# --- how it ends ---


@pytest.mark.parametrize("what", ["server", "microphone", "speaker"])
async def test_when_something_goes_away_it_says_so_and_lets_go_of_the_devices(what):
    async with Scene() as scene:
        if what == "server":
            scene.client.events.put_nowait(RunFailedError("The server has gone away."))
        else:
            getattr(scene, what).unplug()
        with pytest.raises(RunFailedError, match="has gone away"):
            await asyncio.wait_for(scene.running, 2)
        assert not scene.microphone.open
        assert not scene.speaker.open


def test_ctrl_c_is_how_a_conversation_ends_and_closes_everything(monkeypatch, capsys):
    microphone, speaker = FakeMicrophone(), FakeSpeaker()
    monkeypatch.setattr(talk_live, "open_microphone", lambda: microphone)
    monkeypatch.setattr(talk_live, "open_speaker", lambda: speaker)
    server = FakeServer(Answer())
    interrupt = lambda count: os.kill(os.getpid(), signal.SIGINT) if count == 3 else None  # noqa: E731

    def talking(deliver, ended):
        FakeMicrophone.start(microphone, deliver, ended)
        for _ in range(5):
            deliver(BLOCK)

    monkeypatch.setattr(microphone, "start", talking)
    server.on_append = interrupt
    with leaves_no_thread(), server.running():
        assert main(["talk", "--url", server.url]) == 0
    assert not microphone.open
    assert not speaker.open
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "Connected to" in captured.out


def test_push_to_talk_asks_for_turns_that_end_by_hand(monkeypatch):
    microphone, speaker = FakeMicrophone(), FakeSpeaker()
    monkeypatch.setattr(talk_live, "open_microphone", lambda: microphone)
    monkeypatch.setattr(talk_live, "open_speaker", lambda: speaker)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr(microphone, "start", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with FakeServer(Answer()).running() as server:
        assert main(["talk", "--url", server.url, "--push-to-talk"]) == 0
    assert server.received[0]["session"]["audio"]["input"]["turn_detection"] is None


# --- without devices ---


def test_without_portaudio_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", None)
    monkeypatch.setattr("builtins.__import__", _without_sounddevice(__import__))
    assert main(["talk"]) == 1
    said = capsys.readouterr().err
    assert "PortAudio" in said
    assert "--in" in said
    assert "install" in said


def _without_sounddevice(real):
    def importer(name, *args, **kwargs):
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real(name, *args, **kwargs)

    return importer


class NoDevices:
    """PortAudio on a machine without sound."""

    class PortAudioError(Exception):
        pass

    def query_devices(self, kind):
        raise self.PortAudioError("Error querying device -1")


def test_without_a_microphone_it_points_to_files(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", NoDevices())
    assert main(["talk"]) == 1
    said = capsys.readouterr().err
    assert "no microphone" in said
    assert "talk --in" in said


# --- what is played ---


def test_items_are_played_one_after_the_other_and_silence_in_between():
    playback = Playback(RATE)
    playback.push("a", 0, np.full(100, 1, np.int16))
    playback.finish("a")
    playback.push("b", 0, np.full(50, 2, np.int16))
    assert playback.pull(200).tolist() == [1] * 100 + [2] * 50 + [0] * 50
    assert not playback.playing
    playback.push("b", 0, np.full(10, 3, np.int16))
    assert playback.pull(10).tolist() == [3] * 10


def test_silence_that_fills_a_gap_does_not_count_as_heard():
    playback = Playback(RATE)
    playback.push("a", 0, tone(0.1))
    playback.pull(RATE)
    playback.push("a", 0, tone(0.1))
    playback.pull(RATE // 20)
    [cut] = playback.stop()
    assert cut.played_ms == 150
