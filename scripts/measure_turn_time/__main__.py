"""`python -m scripts.measure_turn_time mini stubs`: starts the servers, asks them, ends them, prints the tables."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from pipeline.errors import ParleyError
from server.bench.html import page
from server.bench.report import as_json

from . import cases
from .markdown import machine, table


def main() -> None:
    """Measures what is asked for, one case after the other."""
    parser = argparse.ArgumentParser(prog="python -m scripts.measure_turn_time", description=__doc__)
    parser.add_argument("cases", nargs="+", choices=sorted(cases.CASES), metavar="CASE", help=", ".join(cases.CASES))
    parser.add_argument(
        "--rounds", type=int, default=10, help="how often each question is asked (default: %(default)s)"
    )
    parser.add_argument("--models", type=Path, help="the folder of scripts.make_bench_models, for true-shape")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for all that was measured, and pages to look at")
    options = parser.parse_args()
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the servers end with this
    print(machine(), flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="measure_turn_time-") as folder:
            setting = cases.Setting(Path(folder), options.rounds, options.models)
            for case in options.cases:
                for measured in cases.CASES[case](setting):
                    print(f"\n{table(measured)}", flush=True)
                    if options.out is not None:
                        _keep(options.out, measured)
    except ParleyError as error:
        raise SystemExit(str(error)) from None


def _keep(folder: Path, measured: cases.Measured) -> None:
    name = measured.name.replace(" + ", "-")
    (folder / f"{name}.json").write_text(json.dumps(as_json(measured.results, measured.plan), indent=1) + "\n")
    (folder / f"{name}.html").write_text(page(measured.results, measured.plan))


if __name__ == "__main__":
    main()
