"""That the built-in engines are what their stages ask for, checked by mypy (pyproject.toml names this file)."""

from pipeline.endpointing.silence import Silence
from pipeline.llm.llama_cpp import LlamaCpp
from pipeline.stages import EndOfTurnDetector, LanguageModel, Synthesizer, Transcriber, VoiceActivityDetector
from pipeline.transcription.pocketsphinx import PocketSphinx
from pipeline.tts.espeak_ng import EspeakNg
from pipeline.vad.silero import Silero


def engines() -> None:
    vad: VoiceActivityDetector = Silero(Silero.Options())
    endpointing: EndOfTurnDetector = Silence(Silence.Options())
    transcription: Transcriber = PocketSphinx(PocketSphinx.Options())
    llm: LanguageModel = LlamaCpp(LlamaCpp.Options())
    tts: Synthesizer = EspeakNg(EspeakNg.Options())
    print(vad, endpointing, transcription, llm, tts)
