"""The engines that the contract is tried on."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

import pipeline.llm
from pipeline.types import Pcm16, SpeechRequest
from pipeline.workers import CancelToken
from tests.engines import seeing_gguf
from tests.engines.contract.case import (
    Case,
    EndpointingCase,
    LanguageModelCase,
    Place,
    Refused,
    SynthesisCase,
    TranscriptionCase,
    VadCase,
    Weights,
)
from tests.openai_endpoint import Answer, Endpoint, chunk, events_answer, usage_chunk
from tests.piper_voice import make_voice
from tests.smart_turn_model import smart_turn_file
from tests.speech import UNDERSTOOD, silence, utterance

_WEIGHTS = Path(__file__).parents[2] / "weights"


def _package(name: str) -> Callable[[Place], Path]:
    """Where an installed package lies, which need not be importable."""

    def find(place: Place) -> Path:
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.submodule_search_locations
        return Path(found.submodule_search_locations[0])

    return find


# --- voice activity and ends of turns -------------------------------------------------------------------------

SILERO = VadCase(
    stage="vad",
    engine="silero",
    long_s=300,  # an hour takes 8 s of a core
    weights=(Weights(_package("silero_vad"), package="silero_vad", files=("data/silero_vad_16k_op15.onnx",)),),
)

SILENCE = EndpointingCase(stage="endpointing", engine="silence")
WORDS = EndpointingCase(stage="endpointing", engine="words")

# --- transcription --------------------------------------------------------------------------------------------


def _sentences(place: Place) -> Mapping[str, Pcm16]:
    return place.once("sentences", lambda: {text: utterance(text) for text in UNDERSTOOD[::2]})


def _model_of_pocketsphinx(place: Place) -> Path:
    return _package("pocketsphinx")(place) / "model" / "en-us"


def _of_pocketsphinx(*options: str) -> Callable[[Place], Mapping[str, Any]]:
    files = {"hmm": "en-us", "lm": "en-us.lm.bin", "dict": "cmudict-en-us.dict"}
    return lambda place: {option: str(_model_of_pocketsphinx(place) / files[option]) for option in options}


POCKETSPHINX = TranscriptionCase(
    stage="transcription",
    engine="pocketsphinx",
    understands=_sentences,
    errors=1,
    long_s=10,  # decoding takes 0.1 s of a core a second, several times that on a busy machine
    weights=(
        Weights(
            lambda place: _model_of_pocketsphinx(place) / "en-us",
            option="hmm",
            files=("mdef", "sendump"),
            with_them=_of_pocketsphinx("lm", "dict"),
        ),
        Weights(
            lambda place: _model_of_pocketsphinx(place) / "en-us.lm.bin",
            option="lm",
            with_them=_of_pocketsphinx("hmm", "dict"),
        ),
        Weights(
            lambda place: _model_of_pocketsphinx(place) / "cmudict-en-us.dict",
            option="dict",
            cuttable=("",),
            with_them=_of_pocketsphinx("hmm", "lm"),
        ),
    ),
    refused=(
        Refused("lm", _of_pocketsphinx("hmm", "dict")),
        Refused("hmm", _of_pocketsphinx("lm", "dict")),
        Refused("dict", _of_pocketsphinx("hmm", "lm")),
    ),
)

# --- language models ------------------------------------------------------------------------------------------


def _builtin(place: Place) -> Path:
    return next((Path(pipeline.llm.__path__[0]) / "builtin").glob("*.gguf"))


def _other_gguf(place: Place) -> tuple[Path, ...]:
    """A GGUF of something that is no language model, and one of nothing but a header."""
    seeing, empty = place.folder / "seeing.gguf", place.folder / "header.gguf"
    for path, architecture in ((seeing, "clip"), (empty, "llama")):
        writer = gguf.GGUFWriter(path, architecture)
        if path is seeing:
            writer.add_tensor("v.patch_embd.weight", np.zeros((8, 8), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return seeing, empty


LLAMA_CPP = LanguageModelCase(
    stage="llm",
    engine="llama-cpp",
    block=lambda place: {"context": 2048, "temperature": 0.0},
    weights=(Weights(_builtin, option="model", others=_other_gguf),),
    refused=(
        Refused("context", lambda place: {"context": 1_000_000}),
        Refused("model", lambda place: {"model": "hf:nobody"}),
    ),
)

TOOLS = LanguageModelCase(
    stage="llm",
    engine="llama-cpp",
    label="llm-llama-cpp-tools",
    block=lambda place: {"model": str(_WEIGHTS / "llama-tools" / "tools.gguf"), "temperature": 0.0},
)


def _projector(place: Place) -> Path:
    """One that fits the built-in model, which makes nothing of what it sees."""
    width = gguf.GGUFReader(_builtin(place)).fields["llama.embedding_length"].contents()
    return seeing_gguf.write_projector(place.folder / "projector.gguf", width=width)


def _other_projectors(place: Place) -> tuple[Path, ...]:
    """One of another model, and a GGUF that is none."""
    return seeing_gguf.write_projector(place.folder / "narrow.gguf", width=64), _builtin(place)


SEEING = LanguageModelCase(
    stage="llm",
    engine="llama-cpp",
    label="llm-llama-cpp-seeing",
    block=lambda place: {"context": 2048, "temperature": 0.0, "projector": str(_projector(place))},
    weights=(Weights(_projector, option="projector", others=_other_projectors),),
)

# --- speech ---------------------------------------------------------------------------------------------------

ESPEAK_NG = SynthesisCase(
    stage="tts",
    engine="espeak-ng",
    repeatable=False,  # its voices have jitter, from C's rand()
    long_s=900,  # a clause is made as a whole, an hour in 4 s; those of a reply have 200 characters at most
    weights=(
        Weights(
            _package("espeakng_loader"),
            package="espeakng_loader",
            files=("espeak-ng-data/phontab", "espeak-ng-data/en_dict"),
        ),
    ),
    refused=(
        Refused("voice", lambda place: {"voice": "klingon"}),
        Refused("voice", lambda place: {"voice": ""}),
    ),
)

# --- the package in tests/engines/third_party, which the tests install ----------------------------------------


def _tones(place: Place) -> Mapping[str, Pcm16]:
    """Sentences in the language of tones."""
    made = place.third_party("parley_tones.tts").Voice
    voice = made(made.Options())

    def say(text: str) -> Pcm16:
        tones = voice.synthesize(SpeechRequest(text), CancelToken())
        return np.concatenate([silence(0.3), *tones, silence(0.3)])

    return place.once("tones", lambda: {text: say(text) for text in ("hello there", "who are you", "yes")})


def _pitches(place: Place) -> Path:
    file = place.folder / "pitches.json"
    file.write_text(str([500 + 100 * index for index in range(27)]))
    return file


THIRD_PARTY: tuple[Case[Any], ...] = (
    VadCase(stage="vad", engine="loudness", installed=True, long_s=600),
    EndpointingCase(stage="endpointing", engine="fading", installed=True),
    TranscriptionCase(stage="transcription", engine="tones", installed=True, understands=_tones),
    LanguageModelCase(stage="llm", engine="parrot", installed=True),
    SynthesisCase(
        stage="tts",
        engine="tones",
        installed=True,
        weights=(Weights(_pitches, option="pitches"),),
    ),
)

# --- the engines `openai`, before an endpoint on loopback -----------------------------------------------------


class _Calling(Endpoint):
    """Calls the tools that it must call."""

    def _chat(self, body: dict[str, Any]) -> Answer:
        choice = body.get("tool_choice", "auto")
        if choice in ("auto", "none"):
            return super()._chat(body)
        named = body["tools"][0]["function"]["name"] if choice == "required" else choice["function"]["name"]
        arguments = {"get_weather": '{"city": "Paris", "days": 1}', "set_lights": '{"state": "on"}'}[named]
        begun = {"index": 0, "id": "call_1", "type": "function", "function": {"name": named, "arguments": ""}}
        rest = {"index": 0, "function": {"arguments": arguments}}
        pieces = (chunk(tool_calls=[begun]), chunk(tool_calls=[rest]), chunk(finish="tool_calls"))
        return events_answer(*pieces, usage_chunk(10, 5))


def _endpoint(place: Place) -> Endpoint:
    """An endpoint that hears the language of tones and has long answers to long questions."""

    def open_endpoint() -> Endpoint:
        ear = place.third_party("parley_tones.transcription").Ear
        engine = ear(ear.Options())

        def hear(sound: Pcm16) -> str:
            stream = engine.open()
            stream.feed(sound)
            return str(stream.finish().text)

        def reply(body: dict[str, Any]) -> str:
            said = str(body["messages"][-1]["content"] or "nothing") if body["messages"] else "nothing"
            words = f"You said {said}".split() * (500 if "very long" in said else 1)
            return " ".join(words[: body.get("max_tokens")])

        endpoint = _Calling()
        endpoint.heard, endpoint.reply = hear, reply
        endpoint.start()
        return endpoint

    return place.once("endpoint", open_endpoint)


def _of_openai(**options: Any) -> Callable[[Place], Mapping[str, Any]]:
    return lambda place: {"base_url": _endpoint(place).base_url, **options}


_NO_ENDPOINTS = tuple(
    Refused("base_url", _of_openai(base_url=url))
    for url in ("127.0.0.1:80/v1", "ftp://127.0.0.1/v1", "http://", "http://127.0.0.1:99999/v1", "")
)

OPENAI: tuple[Case[Any], ...] = (
    TranscriptionCase(
        stage="transcription",
        engine="openai",
        block=_of_openai(),
        understands=_tones,
        refused=_NO_ENDPOINTS,
        device=lambda place: f"127.0.0.1:{_endpoint(place).port}",
        long_s=600,  # the sound of an utterance is kept and sent as a whole, as a session's longest
    ),
    TranscriptionCase(
        stage="transcription",
        engine="openai",
        label="transcription-openai-live",
        block=_of_openai(upload="live", stream=True),
        understands=_tones,
        device=lambda place: f"127.0.0.1:{_endpoint(place).port}",
        long_s=600,
    ),
    LanguageModelCase(
        stage="llm",
        engine="openai",
        block=_of_openai(model="test"),
        heeds_limit=False,  # the endpoint calls the end of a reply that it cut a stop
        refused=_NO_ENDPOINTS,
        device=lambda place: f"127.0.0.1:{_endpoint(place).port}",
    ),
    SynthesisCase(
        stage="tts",
        engine="openai",
        block=_of_openai(),
        any_voice=True,
        refused=_NO_ENDPOINTS,
        device=lambda place: f"127.0.0.1:{_endpoint(place).port}",
        long_s=120,  # the endpoint makes it all before it answers
    ),
)

# --- weights made for the tests -------------------------------------------------------------------------------

FASTER_WHISPER = TranscriptionCase(
    stage="transcription",
    engine="faster-whisper",
    block=lambda place: {"model": str(_WEIGHTS / "whisper-tiny"), "language": "en"},
    understands=_sentences,
    long_s=120,
    weights=(
        Weights(
            lambda place: _WEIGHTS / "whisper-tiny",
            option="model",
            files=("model.bin", "config.json", "tokenizer.json", "vocabulary.json"),
        ),
    ),
    refused=(
        Refused("model", lambda place: {"model": "enormous"}),
        Refused("model", lambda place: {"model": "hf:nobody"}),
        Refused("language", lambda place: {"language": "klingon"}),
    ),
)

SMART_TURN = EndpointingCase(
    stage="endpointing",
    engine="smart-turn",
    block=lambda place: {"model": str(smart_turn_file())},
    requires=lambda: None if smart_turn_file() is not None else "its weights could not be downloaded",
    agree_ms=1,
    weights=(
        Weights(
            lambda place: smart_turn_file() or Path(),
            option="model",
            others=lambda place: (_package("silero_vad")(place) / "data" / "silero_vad_16k_op15.onnx", _voice(place)),
        ),
    ),
    refused=(Refused("model", lambda place: {"model": "hf:nobody"}),),
)


def _voice(place: Place) -> Path:
    return place.once("voice", lambda: Path(make_voice(place.folder)))


PIPER = SynthesisCase(
    stage="tts",
    engine="piper",
    block=lambda place: {"voice": str(_voice(place))},
    repeatable=True,
    long_s=600,
    weights=(
        Weights(
            lambda place: place.once("piper", lambda: Path(make_voice(place.folder / "piper"))).parent,
            option="voice",
            entry="en_US-tones-medium.onnx",
            files=("en_US-tones-medium.onnx", "en_US-tones-medium.onnx.json"),
        ),
    ),
    refused=(
        Refused("voice", lambda place: {"voice": "nobody"}),
        Refused("voice", lambda place: {"voice": "hf:nobody"}),
        Refused("speaker", lambda place: {"speaker": "alto"}),
    ),
)

CASES: tuple[Case[Any], ...] = (
    SILERO,
    SILENCE,
    WORDS,
    SMART_TURN,
    POCKETSPHINX,
    FASTER_WHISPER,
    LLAMA_CPP,
    TOOLS,
    SEEING,
    ESPEAK_NG,
    PIPER,
    *OPENAI,
    *THIRD_PARTY,
)
