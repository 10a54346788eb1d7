"""Loads one engine of a pipeline alone, without the rest of it."""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.config import Config, StageConfig, find_config, load_config
from pipeline.device import device_of
from pipeline.errors import EngineError
from pipeline.registry import StageName


@dataclass(frozen=True, slots=True)
class OneEngine:
    """A loaded engine, its block in models.yaml, the pipeline that is from, and all of the file."""

    engine: Any
    pipeline: str
    block: StageConfig
    config: Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says which engine."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="models.yaml to use (default: ./models.yaml)")
    parser.add_argument(
        "--model", metavar="NAME", help="the pipeline whose engine to try (default: the file's default)"
    )


@contextlib.contextmanager
def loaded(args: argparse.Namespace, stage: StageName) -> Iterator[OneEngine]:
    """Loads and warms the engine, says how long it took, and closes it at the end.

    Raises:
        ConfigError: models.yaml is wrong, or the engine cannot be loaded; names the key.
    """
    with Console(stderr=True).status("Reading models.yaml"):
        config = load_config(args.config or find_config())
    name = config.resolve(args.model)
    block = config.pipeline(name).stage(stage)
    began = time.perf_counter()
    with Console(stderr=True).status(f"Loading {block.engine}"):
        engine = _load(config, name, stage, block)
    print(f"{block.engine} loaded in {time.perf_counter() - began:.2f} s, on {device_of(engine)}", file=sys.stderr)
    try:
        yield OneEngine(engine, name, block, config)
    finally:
        engine.close()


def _load(config: Config, name: str, stage: StageName, block: StageConfig) -> Any:
    try:
        engine = block.engine_class.make(block.options)
        engine.warm_up()
    except EngineError as error:
        path = ("models", name, stage, *([error.option] if error.option else []))
        raise config.document.error(path, error.problem, error.mend) from error
    return engine
