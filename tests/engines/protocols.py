"""That the built-in engines are what their stages ask for, checked by mypy (pyproject.toml names this file)."""

from pipeline.endpointing.silence import Silence
from pipeline.endpointing.smart_turn import SmartTurn
from pipeline.llm.llama_cpp import LlamaCpp
from pipeline.llm.openai import OpenAIModel
from pipeline.stages import EndOfTurnDetector, LanguageModel, Synthesizer, Transcriber, VoiceActivityDetector
from pipeline.transcription.faster_whisper import FasterWhisper
from pipeline.transcription.openai import OpenAITranscriber
from pipeline.transcription.pocketsphinx import PocketSphinx
from pipeline.tts.espeak_ng import EspeakNg
from pipeline.tts.openai import OpenAISpeech
from pipeline.tts.piper import Piper
from pipeline.vad.silero import Silero

URL = "http://127.0.0.1:9301/v1"


def engines() -> None:
    vad: list[VoiceActivityDetector] = [Silero(Silero.Options())]
    endpointing: list[EndOfTurnDetector] = [
        Silence(Silence.Options()),
        SmartTurn(SmartTurn.Options(model="smart-turn.onnx")),
    ]
    transcription: list[Transcriber] = [
        FasterWhisper(FasterWhisper.Options()),
        OpenAITranscriber(OpenAITranscriber.Options(base_url=URL)),
        PocketSphinx(PocketSphinx.Options()),
    ]
    llm: list[LanguageModel] = [
        LlamaCpp(LlamaCpp.Options()),
        OpenAIModel(OpenAIModel.Options(base_url=URL, model="any")),
    ]
    tts: list[Synthesizer] = [
        EspeakNg(EspeakNg.Options()),
        OpenAISpeech(OpenAISpeech.Options(base_url=URL)),
        Piper(Piper.Options()),
    ]
    print(vad, endpointing, transcription, llm, tts)
