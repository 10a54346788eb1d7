"""The registry's promises: engines come from any package, are imported when chosen, and harm nobody else."""

import sys

import pytest

from pipeline.errors import EngineError
from pipeline.registry import STAGES, close_match, engine_names, find_engine
from tests.pipeline.packages import FIVE_ENGINES, Packages

GOOD = """
import msgspec

class Options(msgspec.Struct, frozen=True):
    voice: str = "anna"

class Loud:
    Options = Options
    def __init__(self, options):
        self.options = options
"""


def test_every_stage_has_a_built_in_engine() -> None:
    assert {stage: len(engine_names(stage)) > 0 for stage in STAGES} == dict.fromkeys(STAGES, True)


def test_an_engine_of_another_package_is_found_by_its_name(packages: Packages) -> None:
    packages.install("loud-voice", GOOD, {"tts": {"loud": "Loud"}})
    found = find_engine("tts", "loud")
    assert (found.stage, found.name, found.package) == ("tts", "loud", "loud-voice")
    assert found.make(found.options()).options.voice == "anna"


def test_names_are_listed_without_importing_anything(packages: Packages) -> None:
    module = packages.install("loud-voice", "raise SystemError", {"tts": {"loud": "Loud"}})
    assert "loud" in engine_names("tts")
    assert "loud" not in engine_names("llm")
    assert module not in sys.modules


def test_a_package_that_does_not_import_fails_only_those_who_choose_it(packages: Packages) -> None:
    packages.install("broken-voice", "import there_is_no_such_module", {"tts": {"broken": "Loud"}})
    packages.install("loud-voice", GOOD, {"tts": {"loud": "Loud"}})
    assert find_engine("tts", "loud").name == "loud"
    with pytest.raises(EngineError, match=r"broken-voice.*there_is_no_such_module") as raised:
        find_engine("tts", "broken")
    assert "Reinstall broken-voice" in raised.value.mend
    assert "`loud`" in raised.value.mend
    assert raised.value.option == "engine"


def test_an_engine_error_at_import_keeps_its_own_words(packages: Packages) -> None:
    source = "from pipeline.errors import EngineError\nraise EngineError('No GPU.', 'Buy one.')"
    packages.install("gpu-voice", source, {"tts": {"gpu": "Gpu"}})
    with pytest.raises(EngineError, match=r"No GPU. Buy one."):
        find_engine("tts", "gpu")


@pytest.mark.parametrize("source", ["Loud = 3", "class Loud: ...", "class Loud:\n    Options = dict", ""])
def test_what_is_no_engine_is_refused_with_the_name_of_its_package(packages: Packages, source: str) -> None:
    packages.install("odd-voice", source, {"tts": {"odd": "Loud"}})
    with pytest.raises(EngineError, match="odd-voice"):
        find_engine("tts", "odd")


def test_an_unknown_name_is_answered_with_the_nearest_and_the_list(packages: Packages) -> None:
    packages.install("loud-voice", GOOD, {"tts": {"loud-voice": "Loud"}})
    with pytest.raises(EngineError, match="no tts engine called `Loud_Voise`") as raised:
        find_engine("tts", "Loud_Voise")
    assert "Did you mean `loud-voice`?" in raised.value.mend
    assert "`espeak-ng`" in raised.value.mend


def test_the_engine_of_another_stage_is_recognised(packages: Packages) -> None:
    packages.install("loud-voice", GOOD, {"tts": {"loud": "Loud"}})
    with pytest.raises(EngineError, match="`loud` is an engine for tts"):
        find_engine("llm", "loud")


def test_no_package_takes_over_the_name_of_another(packages: Packages) -> None:
    packages.install("loud-voice", GOOD, {"tts": {"espeak-ng": "Loud", "loud": "Loud"}})
    with pytest.raises(EngineError, match=r"2 packages offer a tts engine called `espeak-ng`: loud-voice, parley"):
        find_engine("tts", "espeak-ng")
    assert find_engine("tts", "loud").package == "loud-voice"
    assert engine_names("tts").count("espeak-ng") == 1


def test_one_package_may_offer_engines_for_every_stage(packages: Packages) -> None:
    packages.install_fakes()
    assert {find_engine(stage, "fake").made.__name__ for stage in STAGES} == {stage.capitalize() for stage in STAGES}
    assert "class Llm" in FIVE_ENGINES


@pytest.mark.parametrize(
    ("word", "match"), [("Voice", "voice"), ("compute-typ", "compute_type"), ("VOISE", "voice"), ("zzz", None)]
)
def test_close_matches_look_past_case_and_dashes(word: str, match: str | None) -> None:
    assert close_match(word, ["voice", "compute_type", "model"]) == match
