"""Nothing leaves the machine."""

import os
import subprocess
import sys
from pathlib import Path

WATCH = """
import time
import numpy as np
from pipeline.vad.silero import Silero
detector = Silero(Silero.Options())
detector.detect([(detector.open(), np.zeros(512, np.float32))])
time.sleep(1)
"""


def test_onnxruntime_keeps_no_record_to_send(tmp_path: Path) -> None:
    """With its telemetry on, onnxruntime 1.31 keeps a database of events in ~/.cache/Microsoft, and sends it."""
    environment = os.environ | {"HOME": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    environment.pop("XDG_CACHE_HOME", None)
    subprocess.run([sys.executable, "-c", WATCH], env=environment, check=True, timeout=60)
    assert not list(tmp_path.rglob("*onnxruntime*"))
