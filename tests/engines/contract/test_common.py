"""What every engine has to do, whatever its stage: load or say why not, heed its options, leave nothing behind."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.config_file import read_document
from pipeline.device import device_of
from pipeline.engine_options import convert_options
from pipeline.errors import ConfigError, EngineError
from pipeline.registry import EngineClass
from tests.engines.contract.belongings import as_before, settled
from tests.engines.contract.breaking import broken
from tests.engines.contract.case import Case, Place
from tests.engines.contract.conftest import Load
from tests.engines.contract.loading import try_all
from tests.engines.contract.use import use
from tests.engines.contract.wrong_options import wrong_options

# --- options --------------------------------------------------------------------------------------------------


def complaint(case: Case[Any], found: EngineClass, block: dict[str, Any], folder: Path) -> str:
    """Returns what models.yaml is told of a block; nothing when there is no complaint."""
    file = folder / "models.yaml"
    shown = {"models": {"mine": {case.stage: {"engine": case.engine, **block}}}}
    file.write_bytes(msgspec.yaml.encode(shown))
    document = read_document(file)
    try:
        convert_options(document, found, block, ("models", "mine", case.stage), reserved=("engine", "timeout"))
    except ConfigError as error:
        return str(error)
    return ""


def test_every_option_says_what_it_is(case: Case[Any], engine_class: EngineClass) -> None:
    fields = msgspec.inspect.type_info(engine_class.options).fields  # type: ignore[attr-defined]
    undescribed = [field.name for field in fields if not (field.type.extra_json_schema or {}).get("description")]
    assert not undescribed


def test_a_wrong_option_is_named_with_file_line_key_and_mend(
    case: Case[Any], engine_class: EngineClass, place: Place, tmp_path: Path
) -> None:
    block = dict(case.block(place))
    assert complaint(case, engine_class, block, tmp_path) == ""
    unknown = complaint(case, engine_class, {**block, "colour": "red"}, tmp_path)
    assert f"models.mine.{case.stage}.colour: " in unknown
    assert "Its options: " in unknown
    for wrong in wrong_options(engine_class.options):
        told = complaint(case, engine_class, {**block, wrong.key: wrong.value}, tmp_path)
        assert told.startswith(f"{tmp_path / 'models.yaml'}, line "), f"{wrong} → {told!r}"
        assert f"models.mine.{case.stage}.{wrong.key}" in told, f"{wrong} → {told!r}"
        assert any(mend in told for mend in ("Write ", "Choose one of: ", "Put it in quotes ")), f"{wrong} → {told!r}"


def test_options_that_cannot_be_heeded_stop_the_start(case: Case[Any], load: Load, place: Place) -> None:
    for refused in case.refused:
        block = refused.block(place)
        with pytest.raises(EngineError) as caught:
            load(**block).warm_up()
        assert caught.value.option == refused.option, f"{block} → {caught.value}"
        assert caught.value.mend, f"{block} → {caught.value}"


# --- weights --------------------------------------------------------------------------------------------------


def test_weights_that_are_missing_cut_short_or_of_another_kind_stop_the_start(
    case: Case[Any], engine_class: EngineClass, place: Place, site: Path, tmp_path: Path
) -> None:
    if not case.weights:
        return
    attempts = broken(case, place, tmp_path)
    outcomes = dict(zip(attempts, try_all(list(attempts.values()), site), strict=True))
    options = {weights.option for weights in case.weights if weights.option is not None}
    complaints = []
    for what, outcome in outcomes.items():
        if outcome.happened is not None:
            complaints.append(f"{what}: {outcome.happened}")
        elif not outcome.problem or not outcome.mend:
            complaints.append(f"{what}: no problem or no mend: {outcome}")
        elif options and outcome.option not in options and not any(f"`{key}`" in outcome.mend for key in options):
            complaints.append(f"{what}: which option? {outcome}")
    assert not complaints, "\n".join(complaints)


# --- where it computes ----------------------------------------------------------------------------------------


def test_it_says_where_it_computes(case: Case[Any], engine: Any, place: Place) -> None:
    where = device_of(engine)
    if not has_gpu():
        assert where == case.device(place)
    assert where


def test_cuda_works_or_stops_the_start_with_the_reason(case: Case[Any], load: Load) -> None:
    try:
        engine = load(device="cuda")
    except EngineError as error:
        refusal = error
    else:
        assert has_gpu(), "there is no GPU here"
        engine.warm_up()
        assert device_of(engine).startswith("cuda")
        return
    assert refusal.option == "device"
    assert refusal.problem
    assert refusal.mend


def has_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None


# --- from loading to closing ----------------------------------------------------------------------------------


async def test_two_are_loaded_beside_each_other_and_end_apart(case: Case[Any], load: Load, place: Place) -> None:
    cold, warm = load(), load()
    await use(case, cold, place)
    warm.warm_up()
    await use(case, warm, place)
    cold.close()
    await use(case, warm, place)


async def test_closing_again_does_no_harm(case: Case[Any], load: Load, place: Place) -> None:
    engine = load()
    await use(case, engine, place)
    engine.close()
    engine.close()
    load().close()  # never used


async def test_nothing_is_left_when_it_is_closed(case: Case[Any], load: Load, place: Place) -> None:
    async def live() -> None:
        engine = load()
        engine.warm_up()
        await use(case, engine, place)
        engine.close()

    await live()  # what the library keeps for the process
    before = await settled(case.stage)
    await live()
    await as_before(before)
