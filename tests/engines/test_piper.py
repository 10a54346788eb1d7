"""What the engine `piper` promises, on voices whose sound tells what they were asked for."""

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from piper import PiperConfig, PiperVoice
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

from pipeline.audio import StreamResampler
from pipeline.errors import EngineError, StageError
from pipeline.tts.espeak_ng import EspeakNg
from pipeline.tts.piper import FASTEST, SLOWEST, Piper
from pipeline.types import WIRE_RATE, Pcm16, SpeechRequest
from pipeline.workers import CancelToken
from tests.piper_voice import Sentence, make_voice, phonemes_of, read_back
from tests.threads import until

SPEAKERS = ("alto", "tenor", "bass")
SECONDS = 0.04
"""How long a phoneme id lasts in these voices, at the voice's own speed."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("voices")


@pytest.fixture(scope="module")
def tones(folder: Path) -> str:
    return str(make_voice(folder))


@pytest.fixture(scope="module")
def choir(folder: Path) -> str:
    return str(make_voice(folder, "en_US-choir-low", rate=16_000, speakers=SPEAKERS))


@pytest.fixture(scope="module")
def endless(folder: Path) -> str:
    """A voice that never gets to the end of a sentence with an exclamation mark."""
    return str(make_voice(folder, "en_US-endless-medium", endless=True))


@pytest.fixture(scope="module")
def engine(tones: str) -> Piper:
    engine = Piper(Piper.Options(voice=tones))
    engine.warm_up()
    return engine


def say(engine: Piper, text: str, voice: str | None = None, speed: float = 1.0) -> Pcm16:
    chunks = list(engine.synthesize(SpeechRequest(text, voice, speed), CancelToken()))
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int16)


def heard(engine: Piper, text: str, voice: str | None = None, speed: float = 1.0) -> list[Sentence]:
    return read_back(say(engine, text, voice, speed), engine.rate)


def wire(engine: Piper, sound: Pcm16) -> Pcm16:
    """What the server makes of an engine's sound."""
    resampler = StreamResampler(engine.rate, WIRE_RATE)
    return np.concatenate((resampler.process(sound), resampler.flush()))


def pipers_own(text: str) -> list[tuple[int, ...]]:
    """The phoneme ids of a text according to Piper, a sentence each."""
    config = {
        "num_symbols": 256,
        "num_speakers": 1,
        "audio": {"sample_rate": 22_050},
        "espeak": {"voice": "en-us"},
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
    }
    voice = PiperVoice(session=None, config=PiperConfig.from_dict(config))  # type: ignore[arg-type]
    return [tuple(voice.phonemes_to_ids(phonemes)) for phonemes in voice.phonemize(text)]


TEXTS = (
    "Hello there. How are you? Fine, thanks!",
    "The capital of France is Paris",
    "On 3 May 1987 it cost $1,234.56; today: nothing at all.",
    "“Which?” she asked (quietly) – and left…",
    "First line\nsecond line\n\nAnother paragraph: with a colon",
    "Joyeux Noël, señor Müller.",
)


# --- what is said, and by whom --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS)
def test_says_the_phonemes_that_piper_itself_would(engine: Piper, text: str) -> None:
    assert [sentence.ids for sentence in heard(engine, text)] == pipers_own(text)


@pytest.mark.parametrize("text", TEXTS)
def test_voices_of_either_rate_say_the_same_on_the_wire(engine: Piper, choir: str, text: str) -> None:
    for each in (engine, Piper(Piper.Options(voice=choir))):
        assert [sentence.ids for sentence in read_back(wire(each, say(each, text)), WIRE_RATE)] == pipers_own(text)


def test_every_phoneme_is_told_from_every_other_on_the_wire(tmp_path: Path) -> None:
    # A voice of phoneme type `text` says any phoneme that stands in the text.
    voice = make_voice(tmp_path, "en_US-letters-low", rate=16_000, phoneme_type="text")
    engine = Piper(Piper.Options(voice=str(voice)))
    letters = (each for each in DEFAULT_PHONEME_ID_MAP if each not in "_^$" and len(normalize("NFD", each)) == 1)
    alphabet = normalize("NFD", "a" + "".join(letters))
    assert len(alphabet) > 150
    # The marks of beginning, end and padding are none that a text could set.
    (sentence,) = read_back(wire(engine, say(engine, f"{alphabet}_^$")), WIRE_RATE)
    wanted = [number for phoneme in alphabet for number in (0, *DEFAULT_PHONEME_ID_MAP[phoneme])]
    assert list(sentence.ids) == [1, *wanted, 0, 2]


def test_rates_are_those_of_the_voices(tones: str, choir: str) -> None:
    assert Piper(Piper.Options(voice=tones)).rate == 22_050
    assert Piper(Piper.Options(voice=choir)).rate == 16_000
    # Whichever speaks is resampled once, to what goes out.
    assert Piper(Piper.Options(voice=choir, voices=(tones,))).rate == WIRE_RATE


def test_a_request_chooses_among_the_voices(tones: str, choir: str) -> None:
    engine = Piper(Piper.Options(voice=tones, voices=(choir,)))
    names = ("en_US-tones-medium", "en_US-choir-low", *(f"en_US-choir-low/{speaker}" for speaker in SPEAKERS))
    assert engine.capabilities.voices == names
    assert engine.capabilities.languages == {"en-US"}
    speakers = [heard(engine, "One.", voice)[0].speaker for voice in (None, *names)]
    assert speakers == [None, None, 0, 0, 1, 2]
    assert {heard(engine, "One.", voice)[0].ids for voice in names} == {*pipers_own("One.")}


def test_a_voice_of_another_rate_is_resampled_without_a_seam(tones: str, choir: str) -> None:
    text = "One, two. Three, four? Five."
    low = say(Piper(Piper.Options(voice=choir)), text)
    both = Piper(Piper.Options(voice=tones, voices=(choir,)))
    resampler = StreamResampler(16_000, WIRE_RATE)
    whole = np.concatenate((resampler.process(low), resampler.flush()))
    assert np.array_equal(say(both, text, "en_US-choir-low"), whole)


def test_the_option_speaker_is_the_default(choir: str) -> None:
    for speaker, number in (("tenor", 1), ("2", 2), (2, 2), (0, 0), (None, 0)):
        engine = Piper(Piper.Options(voice=choir, speaker=speaker))
        assert heard(engine, "One.")[0].speaker == number
        assert engine.capabilities.voices[0] == "en_US-choir-low"
        assert heard(engine, "One.", "en_US-choir-low")[0].speaker == number
        assert heard(engine, "One.", "en_US-choir-low/bass")[0].speaker == 2


def test_the_option_speaker_is_for_the_first_voice_only(tones: str, choir: str) -> None:
    engine = Piper(Piper.Options(voice=choir, speaker="bass", voices=(tones,)))
    assert [heard(engine, "One.", voice)[0].speaker for voice in (None, "en_US-tones-medium")] == [2, None]


def test_speakers_without_names_go_by_numbers(tmp_path: Path) -> None:
    voice = make_voice(tmp_path, speakers=SPEAKERS, speaker_id_map={}, default_speaker_id=1)
    engine = Piper(Piper.Options(voice=str(voice)))
    assert engine.capabilities.voices[1:] == tuple(f"en_US-tones-medium/{number}" for number in range(3))
    assert heard(engine, "One.")[0].speaker == 1
    assert heard(engine, "One.", "en_US-tones-medium/2")[0].speaker == 2


def test_a_voice_that_is_not_loaded_fails_the_clause(engine: Piper) -> None:
    with pytest.raises(StageError, match="alloy"):
        say(engine, "Hello.", "alloy")


# --- how it is said -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.5, 1.0, 1.5, 2.0])
def test_speed_shortens_the_phonemes(engine: Piper, speed: float) -> None:
    (sentence,) = heard(engine, "This is how fast I speak to you today.", speed=speed)
    assert sentence.id_seconds == pytest.approx(SECONDS / speed, rel=0.01)
    assert sentence.ids == pipers_own("This is how fast I speak to you today.")[0]


def test_the_speeds_of_voice_option_and_request_are_multiplied(tmp_path: Path) -> None:
    voice = make_voice(tmp_path, inference={"length_scale": 1.25})
    engine = Piper(Piper.Options(voice=str(voice), speed=0.5))
    for speed in (1.0, 1.5):
        length = heard(engine, "One, two, three.", speed=speed)[0].id_seconds
        assert length == pytest.approx(SECONDS * 1.25 / (0.5 * speed), rel=0.01)


def test_the_slowest_and_fastest_speeds_are_as_stated(tones: str) -> None:
    engine = Piper(Piper.Options(voice=tones, speed=1.5))
    slowest, fastest = engine.capabilities.speeds
    assert (slowest * 1.5, fastest * 1.5) == (SLOWEST, FASTEST)
    for speed, stated in ((slowest / 2, SLOWEST), (slowest, SLOWEST), (fastest, FASTEST), (fastest * 2, FASTEST)):
        length = heard(engine, "One, two, three.", speed=speed)[0].id_seconds
        assert length == pytest.approx(SECONDS / stated, rel=0.01)


def test_a_pause_follows_each_sentence_and_only_sentences(tones: str) -> None:
    for pause in (0.0, 0.3):
        engine = Piper(Piper.Options(voice=tones, sentence_pause=pause))
        for text, after in (("One. Two? Three!", pause), ("One. Two", 0.0), ("One. Two,", 0.0)):
            sound = say(engine, text)
            sentences = read_back(sound, engine.rate)
            gaps = [later.start - sentence.end for sentence, later in itertools.pairwise(sentences)]
            assert gaps == pytest.approx([pause] * len(gaps), abs=0.005)
            assert len(sound) / engine.rate - sentences[-1].end == pytest.approx(after, abs=0.005)


def test_noise_is_the_voices_own_unless_the_options_say_otherwise(tmp_path: Path) -> None:
    voice = str(make_voice(tmp_path, inference={"noise_scale": 0.5, "noise_w": 1.1}))
    for options, noise, noise_w in (({}, 0.5, 1.1), ({"noise": 0.25}, 0.25, 1.1), ({"noise_w": 0.0}, 0.5, 0.0)):
        (sentence,) = heard(Piper(Piper.Options(voice=voice, **options)), "One, two, three.")
        assert (sentence.noise, sentence.noise_w) == pytest.approx((noise, noise_w), abs=0.02)


def test_volume_scales_the_sound(tones: str) -> None:
    full = say(Piper(Piper.Options(voice=tones)), "One, two, three.").astype(float)
    assert 0.7 * 32767 < np.abs(full).max() <= 32767
    for volume in (0.25, 0.0):
        sound = say(Piper(Piper.Options(voice=tones, volume=volume)), "One, two, three.")
        assert np.abs(sound - full * volume).max() <= 1


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts the threads of the process")
def test_threads_are_as_many_as_asked_for_until_it_is_closed(tones: str) -> None:
    # In a process of its own, whose threads are nobody else's.
    done = subprocess.run(
        [sys.executable, "-c", COUNT_THREADS, tones], check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.split() == ["0", "5", "0"]  # one of them is always the caller's


COUNT_THREADS = """
import os, sys
from pipeline.tts.piper import Piper

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
for engine in (Piper(Piper.Options(voice=sys.argv[1], threads=count)) for count in (1, 6)):
    print(threads() - before)
    engine.close()
print(threads() - before)
"""


# --- sentence by sentence, and cancelled ----------------------------------------------------------------------


class Listener:
    """A thread that takes what an engine yields."""

    def __init__(self, engine: Piper, text: str) -> None:
        self.cancel = CancelToken()
        self.chunks: list[Pcm16] = []
        self.error: BaseException | None = None
        self._sound = engine.synthesize(SpeechRequest(text), self.cancel)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        try:
            for chunk in self._sound:
                self.chunks.append(chunk)
        except BaseException as error:
            self.error = error

    def computing(self) -> bool:
        """Whether the thread is inside onnxruntime."""
        frame = sys._current_frames().get(self.thread.ident or 0)
        return frame is not None and "onnxruntime" in frame.f_code.co_filename


async def test_a_sentence_comes_before_the_next_is_made_and_cancel_cuts_that_off(endless: str) -> None:
    engine = Piper(Piper.Options(voice=endless, sentence_pause=0.0))
    listener = Listener(engine, "This ends. This never does! This is not even begun.")
    await until(lambda: len(listener.chunks) == 1 and listener.computing())
    assert read_back(listener.chunks[0], engine.rate)[0].ids == pipers_own("This ends.")[0]
    listener.cancel.cancel()
    await until(lambda: not listener.thread.is_alive())
    assert len(listener.chunks) == 1
    assert listener.error is None
    assert [sentence.ids for sentence in heard(engine, "This ends.")] == pipers_own("This ends.")


async def test_cancelling_one_clause_leaves_the_others_alone(endless: str) -> None:
    engine = Piper(Piper.Options(voice=endless))
    kept, cancelled = Listener(engine, "This one goes on!"), Listener(engine, "That one does not!")
    await until(lambda: kept.computing() and cancelled.computing())
    cancelled.cancel.cancel()
    await until(lambda: not cancelled.thread.is_alive())
    assert kept.thread.is_alive()
    kept.cancel.cancel()
    await until(lambda: not kept.thread.is_alive())
    assert kept.error is None
    assert kept.chunks == cancelled.chunks == []


def test_a_cancelled_clause_is_not_begun(endless: str) -> None:
    cancel = CancelToken()
    cancel.cancel()
    assert list(Piper(Piper.Options(voice=endless)).synthesize(SpeechRequest("Never!"), cancel)) == []


def test_nothing_follows_a_cancel_between_sentences(tones: str, choir: str) -> None:
    engine = Piper(Piper.Options(voice=tones, voices=(choir,)))
    for voice in ("en_US-tones-medium", "en_US-choir-low"):
        cancel = CancelToken()
        chunks = engine.synthesize(SpeechRequest("One. Two. Three.", voice), cancel)
        next(chunks)
        cancel.cancel()
        assert list(chunks) == []


def test_several_clauses_may_be_in_the_making_at_a_time(engine: Piper) -> None:
    assert engine.concurrency >= 2


def test_clauses_of_several_threads_do_not_mix(tones: str, choir: str) -> None:
    engine = Piper(Piper.Options(voice=tones, voices=(choir,)))
    texts = [f"This is sentence {number}. And that was it?" for number in range(8)]
    results: dict[str, list[Sentence]] = {}
    together = threading.Barrier(len(texts))

    def speak(text: str, voice: str) -> None:
        together.wait()
        results[text] = heard(engine, text, voice)

    names = ("en_US-tones-medium", "en_US-choir-low/tenor")
    threads = [
        threading.Thread(target=speak, args=(text, names[index % 2]), daemon=True) for index, text in enumerate(texts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, text in enumerate(texts):
        assert [sentence.ids for sentence in results[text]] == pipers_own(text)
        assert {sentence.speaker for sentence in results[text]} == {(None, 1)[index % 2]}


def test_the_engine_espeak_ng_keeps_its_own_voice_beside_it(tones: str) -> None:
    robot = EspeakNg(EspeakNg.Options(voice="de"))
    request = SpeechRequest("Guten Tag")
    before = sum(map(len, robot.synthesize(request, CancelToken())))
    assert heard(Piper(Piper.Options(voice=tones)), "Good day.")[0].ids == pipers_own("Good day.")[0]
    assert sum(map(len, robot.synthesize(request, CancelToken()))) == pytest.approx(before, rel=0.02)


# --- any text -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "  \n", "…", "?!", "!!!", "- - -", "😀👍🏽", "\u200b", "\ud800", "\x00", "*", "“”"]
)
def test_text_with_nothing_to_say_makes_no_sound(engine: Piper, text: str) -> None:
    assert list(engine.synthesize(SpeechRequest(text), CancelToken())) == []


@pytest.mark.parametrize("text", ["привет", "你好。", "שלום", "ก", "a\u0301\u0302", "\U0001d51e", "1" * 300, "a" * 700])
def test_text_of_any_kind_is_no_error(engine: Piper, text: str) -> None:
    say(engine, text)


def test_what_a_voice_has_no_phonemes_for_is_left_out(tmp_path: Path) -> None:
    engine = Piper(Piper.Options(voice=str(make_voice(tmp_path, phoneme_type="text"))))
    assert heard(engine, "so 你好 so")[0].phonemes == "so  so"
    assert list(engine.synthesize(SpeechRequest("你好。"), CancelToken())) == []


def test_text_is_never_taken_for_phonemes_or_commands(engine: Piper) -> None:
    assert heard(engine, "See [[bˈɪː]] there.")[0].ids == heard(engine, "See [ [bˈɪː]] there.")[0].ids
    assert heard(engine, "before\x00 after")[0].ids == pipers_own("before after")[0]
    assert heard(engine, "so \x01400S fast")[0].ids == pipers_own("so 400S fast")[0]


def test_a_long_text_is_said_to_its_end(engine: Piper) -> None:
    sentences = [f"This is sentence number {number} of very many." for number in range(30)]
    spoken = heard(engine, " ".join(sentences), speed=FASTEST)
    assert [sentence.ids for sentence in spoken] == [pipers_own(sentence)[0] for sentence in sentences]


def test_the_first_sentence_of_a_very_long_text_is_said_at_once(engine: Piper) -> None:
    cancel = CancelToken()
    chunks = engine.synthesize(SpeechRequest("One sentence of many. " * 100_000), cancel)
    assert read_back(next(chunks), engine.rate)[0].ids == pipers_own("One sentence of many.")[0]
    cancel.cancel()
    assert list(chunks) == []


def test_a_sentence_without_end_is_said_in_pieces_and_without_pauses(engine: Piper) -> None:
    chunks = list(engine.synthesize(SpeechRequest("word and " * 150, speed=FASTEST), CancelToken()))
    assert len(chunks) > 2
    sound = np.concatenate(chunks)
    pieces = read_back(sound, engine.rate)
    assert "".join(piece.phonemes for piece in pieces).count("wˈɜːd") == 150
    spoken = sum(piece.end - piece.start for piece in pieces)
    assert len(sound) / engine.rate == pytest.approx(spoken, abs=0.01 * len(pieces))


def test_a_word_without_end_is_said_in_pieces(engine: Piper) -> None:
    assert len(list(engine.synthesize(SpeechRequest("1" * 1500, speed=FASTEST), CancelToken()))) > 2


# --- voices by name -------------------------------------------------------------------------------------------


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with nothing in it, on a machine without a network."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put_into(cache: Path, repository: str, folder: str, name: str) -> None:
    """Puts a voice where the hub's own library looks for what it has downloaded."""
    home = cache / f"models--{repository.replace('/', '--')}"
    commit = "0" * 40
    make_voice(home / "snapshots" / commit / folder, name)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)


def test_a_name_leads_to_the_voice_on_the_hub(hub_cache: Path) -> None:
    put_into(hub_cache, "rhasspy/piper-voices", "en/en_US/lessac/medium", "en_US-lessac-medium")
    engine = Piper(Piper.Options())
    assert engine.capabilities.voices == ("en_US-lessac-medium",)
    assert [sentence.ids for sentence in heard(engine, "One.")] == pipers_own("One.")


def test_a_reference_leads_to_any_voice_on_the_hub(hub_cache: Path) -> None:
    put_into(hub_cache, "somebody/voices", "mine", "my voice")
    engine = Piper(Piper.Options(voice="hf:somebody/voices:mine/my voice.onnx"))
    assert engine.capabilities.voices == ("my voice",)
    assert [sentence.ids for sentence in heard(engine, "One.")] == pipers_own("One.")


def test_a_voice_that_cannot_be_downloaded_stops_the_start(hub_cache: Path) -> None:
    for voices in ({"voice": "en_GB-alan-medium"}, {"voice": "de_DE-nobody-x_low"}, {"voice": "hf:a/b:c.onnx"}):
        with pytest.raises(EngineError, match="is not on this machine") as caught:
            Piper(Piper.Options(**voices))
        assert caught.value.option == "voice"
        assert "give the path of the file" in caught.value.mend


UNKNOWN = {
    "en_us-lessac-medium": "Did you mean `en_US-lessac-medium`?",
    "en-US-Lessac-Medium": "Did you mean `en_US-lessac-medium`?",
    "en_US-lessac": "Did you mean `en_US-lessac-medium`?",
    "thorsten": "Did you mean `de_DE-thorsten-medium`?",
    "en_US-special-hi": "Did you mean `en_US-special-high`?",
    "en-us+klatt4": "Write a name such as `en_US-lessac-medium`",
    "": "Write a name such as `en_US-lessac-medium`",
}


@pytest.mark.parametrize("voice", UNKNOWN)
def test_what_is_no_voice_stops_the_start_with_a_suggestion(hub_cache: Path, voice: str) -> None:
    put_into(hub_cache, "rhasspy/piper-voices", "en/en_US/special/high", "en_US-special-high")
    with pytest.raises(EngineError, match="is no Piper voice") as caught:
        Piper(Piper.Options(voice=voice))
    assert caught.value.option == "voice"
    assert UNKNOWN[voice] in caught.value.mend


def test_a_name_like_one_that_is_known_is_suggested_when_the_hub_has_it_not(hub_cache: Path) -> None:
    with pytest.raises(EngineError, match="Did you mean `en_US-lessac-medium`"):
        Piper(Piper.Options(voice="en_US-lesac-medium"))


# --- what stops the start -------------------------------------------------------------------------------------

Damage = Callable[[Path], object]


def describe(**keys: object) -> Damage:
    """Sets keys of a voice's .onnx.json, or takes those out whose value is None."""

    def damage(voice: Path) -> None:
        file = voice.with_name(f"{voice.name}.json")
        description = json.loads(file.read_text("utf-8")) | keys
        file.write_text(json.dumps({key: value for key, value in description.items() if value is not None}), "utf-8")

    return damage


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no weights": (Path.unlink, "There is no file"),
    "a folder": (lambda voice: (voice.unlink(), voice.mkdir()), "There is no file"),
    "empty": (lambda voice: voice.write_bytes(b""), "cannot be read as an ONNX model"),
    "text": (lambda voice: voice.write_text("<html>Not found</html>"), "cannot be read as an ONNX model"),
    "truncated": (lambda voice: voice.write_bytes(voice.read_bytes()[:1000]), "cannot be read as an ONNX model"),
    "no description": (lambda voice: voice.with_name(f"{voice.name}.json").unlink(), "has no description beside it"),
    "a description that is no JSON": (
        lambda voice: voice.with_name(f"{voice.name}.json").write_text("{"),
        "does not describe a Piper voice",
    ),
    "a description that is a list": (
        lambda voice: voice.with_name(f"{voice.name}.json").write_text("[]"),
        "does not describe a Piper voice",
    ),
    "a description that is no text": (
        lambda voice: voice.with_name(f"{voice.name}.json").write_bytes(b"\xff\xfe"),
        "does not describe a Piper voice",
    ),
    **{
        f"a description without {key}": (describe(**{key: None}), f"`{key}`")
        for key in ("audio", "espeak", "num_symbols", "num_speakers", "phoneme_id_map")
    },
    "no rate": (describe(audio={}), "`sample_rate`"),
    "a rate that is none": (describe(audio={"sample_rate": 0}), "sample_rate"),
    "a length scale of nothing": (describe(inference={"length_scale": 0}), "length_scale"),
    "no phonemes": (describe(phoneme_id_map={}), "`phoneme_id_map` has no `_`"),
    "phonemes of another kind": (describe(phoneme_id_map={"_": "0"}), "phoneme_id_map"),
    "fewer symbols than phonemes": (describe(num_symbols=100), "above `num_symbols`, which is 100"),
    "speakers that there are not": (describe(speaker_id_map={"alto": 3}), "above `num_speakers`, which is 1"),
    "several speakers for weights with one": (describe(num_speakers=2), "has one speaker, but 2 by its description"),
    "more speakers than weights": (
        lambda voice: describe(num_speakers=4)(make_voice(voice.parent, voice.stem, speakers=SPEAKERS)),
        "cannot be run",
    ),
    "more phonemes than weights": (lambda voice: make_voice(voice.parent, voice.stem, symbols=100), "cannot be run"),
    "a language that espeak-ng lacks": (describe(espeak={"voice": "xx-nowhere"}), "`xx-nowhere`"),
    "phonemes nobody knows": (describe(phoneme_type="runes"), "runes"),
    "phonemes of a package that is missing": (describe(phoneme_type="thai"), "the package tltk is missing"),
    "phonemes that piper would download": (describe(phoneme_type="pinyin"), "lacks a dictionary here"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_files_that_are_no_voice_stop_the_start(tmp_path: Path, tones: str, damage: str) -> None:
    voice = make_voice(tmp_path, "en_US-broken-low")
    spoil, problem = DAMAGES[damage]
    spoil(voice)
    for options in (Piper.Options(voice=str(voice)), Piper.Options(voice=tones, voices=(str(voice),))):
        with pytest.raises(EngineError) as caught:
            Piper(options)
        assert problem in caught.value.problem
        assert caught.value.mend
        assert caught.value.option == ("voices" if options.voices else "voice")


def test_other_models_are_no_voices(tmp_path: Path) -> None:
    from pipeline.vad import silero

    voice = make_voice(tmp_path)
    voice.write_bytes(silero._find_weights().read_bytes())
    with pytest.raises(EngineError, match="is not a Piper voice: it takes input, sr, state") as caught:
        Piper(Piper.Options(voice=str(voice)))
    assert caught.value.option == "voice"


def test_two_voices_of_one_name_stop_the_start(tmp_path: Path, tones: str) -> None:
    with pytest.raises(EngineError, match="two voices called `en_US-tones-medium`") as caught:
        Piper(Piper.Options(voice=tones, voices=(str(make_voice(tmp_path)),)))
    assert caught.value.option == "voices"


def test_an_unknown_speaker_stops_the_start_with_some_that_are_known(tones: str, choir: str) -> None:
    for speaker, mend in (("tenors", "Did you mean `tenor`?"), ("x", "`alto`, `tenor`, `bass`"), (3, "from 0 to 2")):
        with pytest.raises(EngineError, match=f"has no speaker `{speaker}`") as caught:
            Piper(Piper.Options(voice=choir, speaker=speaker))
        assert mend in caught.value.mend
        assert caught.value.option == "speaker"
    with pytest.raises(EngineError, match="has only one speaker"):
        Piper(Piper.Options(voice=tones, speaker=0))


def test_cuda_works_or_stops_the_start_and_auto_takes_what_works(tones: str) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime may have CUDA here")
    with pytest.raises(EngineError, match="CUDA does not work here: the installed onnxruntime") as caught:
        Piper(Piper.Options(voice=tones, device="cuda"))
    assert caught.value.option == "device"
    assert Piper(Piper.Options(voice=tones, device="auto")).device == "cpu"


def test_what_the_reader_calls_phonemes_is_what_piper_calls_phonemes() -> None:
    assert phonemes_of(pipers_own("Hello there.")[0]) == "həlˈoʊ ðˈɛɹ."
