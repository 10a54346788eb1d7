"""One short use of an engine of any stage, to see that it works."""

from typing import Any

import numpy as np

from pipeline.stages import Pause
from pipeline.workers import CancelToken
from tests.engines.contract import driving
from tests.engines.contract.case import (
    Case,
    EndpointingCase,
    LanguageModelCase,
    Place,
    SynthesisCase,
    TranscriptionCase,
    VadCase,
)
from tests.speech import silence, word_errors


async def use(case: Case[Any], engine: Any, place: Place) -> None:
    """Has the engine do what it is for. Raises AssertionError when nothing comes of it."""
    match case:
        case VadCase():
            [probability] = engine.detect([(engine.open(), np.zeros(engine.frame, np.float32))])
            assert 0 <= probability <= 1
        case EndpointingCase():
            assert 0 <= engine.assess(Pause(silence(1.0), "Yes.", 800), CancelToken()) <= 800
        case TranscriptionCase():
            text, sound = next(iter(case.understands(place).items()))
            with driving.listening(engine) as ear:
                assert word_errors(text, (await ear.hear(sound)).text) <= case.errors
        case LanguageModelCase():
            stream = engine.open()
            outputs = await driving.generate(stream, driving.asking(case.prompts[0], max_tokens=4))
            assert driving.text_of(outputs)
            assert driving.end_of(outputs)
            stream.close()
        case SynthesisCase():
            assert np.abs(await driving.Mouth(engine).say(case.texts[0])).max() > 100
