"""What `device: auto | cpu | cuda` comes to: pipeline/device.py, and onnx_session.py, which opens weights by it."""

import ctypes
import importlib.util
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from pipeline import device, onnx_session
from pipeline.device import CudaUnavailableError, Place, check_device, device_of, gpu, load_on
from pipeline.errors import EngineError
from pipeline.onnx_session import open_session
from pipeline.stages import Device
from pipeline.vad import silero


def has_gpu() -> bool:
    try:
        gpu()
    except CudaUnavailableError:
        return False
    return True


without_gpu = pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")


def works() -> None:
    """A check that finds CUDA."""


def is_missing() -> None:
    raise CudaUnavailableError("the library was built without it")


def breaks(place: Place) -> Place:
    if place == "cuda":
        raise RuntimeError("out of memory\n  on device 0.")
    return place


def stay(place: Place) -> Place:
    return place


# --- load_on ---


@pytest.mark.parametrize(
    ("wanted", "check", "place"),
    [
        ("auto", works, "cuda"),
        ("auto", is_missing, "cpu"),
        ("cpu", works, "cpu"),
        ("cpu", is_missing, "cpu"),
        ("cuda", works, "cuda"),
    ],
)
def test_weights_are_loaded_where_the_option_says(wanted: Device, check: Callable[[], None], place: Place) -> None:
    assert load_on(wanted, stay, check) == (place, place)


def test_on_the_cpu_nobody_looks_for_cuda() -> None:
    load_on("cpu", stay, lambda: pytest.fail("CUDA was looked for"))


def test_cuda_works_or_stops_the_start_with_the_reason() -> None:
    with pytest.raises(EngineError) as caught:
        load_on("cuda", stay, is_missing)
    assert caught.value.problem == "CUDA does not work here: the library was built without it."
    assert "make setup CUDA=1" in caught.value.mend
    assert caught.value.option == "device"
    with pytest.raises(EngineError, match=r"^CUDA does not work here: out of memory on device 0\. ") as caught:
        load_on("cuda", breaks, works, "llm_device")
    assert caught.value.option == "llm_device"


def test_auto_takes_the_cpu_without_a_word_where_there_is_no_cuda(caplog: pytest.LogCaptureFixture) -> None:
    load_on("auto", stay, is_missing)
    assert caplog.records == []


def test_auto_takes_the_cpu_and_says_why_where_cuda_breaks(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert load_on("auto", breaks, works) == ("cpu", "cpu")
    assert "out of memory on device 0" in caplog.text


@pytest.mark.parametrize("wanted", ["auto", "cuda", "cpu"])
def test_wrong_weights_are_an_error_of_their_own(wanted: Device) -> None:
    tried: list[Place] = []

    def load(place: Place) -> None:
        tried.append(place)
        raise EngineError("The file is damaged.", "Download it again.", "model")

    with pytest.raises(EngineError, match="damaged") as caught:
        load_on(wanted, load, works)
    assert caught.value.option == "model"
    assert len(tried) == 1


# --- engines that have no use for a GPU ---


class OnTheCpu:
    pass


class Anywhere:
    devices = ("cpu", "cuda")
    device = "cuda (NVIDIA H200)"


class Elsewhere:
    devices = ()


def test_cuda_is_refused_where_an_engine_has_no_use_for_it() -> None:
    with pytest.raises(EngineError, match="`espeak-ng` computes on the CPU only") as caught:
        check_device("espeak-ng", OnTheCpu, SimpleNamespace(device="cuda"))
    assert caught.value.option == "device"
    with pytest.raises(EngineError, match="`openai` computes on another machine"):
        check_device("openai", Elsewhere, SimpleNamespace(device="cuda"))


@pytest.mark.parametrize(
    ("engine", "wanted"),
    [(OnTheCpu, "auto"), (OnTheCpu, "cpu"), (Anywhere, "cuda"), (Anywhere, "cpu"), (Elsewhere, "auto")],
)
def test_other_devices_are_taken(engine: type, wanted: Device) -> None:
    check_device("any", engine, SimpleNamespace(device=wanted))
    check_device("any", engine, SimpleNamespace())


def test_where_an_engine_computes_can_be_read() -> None:
    assert (device_of(OnTheCpu()), device_of(Anywhere())) == ("cpu", "cuda (NVIDIA H200)")


# --- the driver, and NVIDIA's libraries ---


@pytest.fixture
def fresh() -> Iterator[None]:
    """Forgets what was found out about this machine, before and after."""
    for cached in (gpu, device.load_cuda_libraries):
        cached.cache_clear()
    yield
    for cached in (gpu, device.load_cuda_libraries):
        cached.cache_clear()


class Driver:
    """Stands in for libcuda.so.1."""

    def __init__(self, started: int, gpus: int) -> None:
        self._started, self._gpus = started, gpus

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        return self._started

    def cuDeviceGetCount(self, count: object) -> int:  # noqa: N802
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int))[0] = self._gpus
        return 0

    def cuDeviceGet(self, _device: object, _ordinal: int) -> int:  # noqa: N802
        return 0

    def cuDeviceGetName(self, name: "ctypes.Array[ctypes.c_char]", _size: int, _device: object) -> int:  # noqa: N802
        name.value = b"NVIDIA H200"
        return 0


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (None, "no NVIDIA driver"),
        (Driver(100, 0), "shows no GPU"),
        (Driver(0, 0), "shows no GPU"),
        (Driver(804, 0), "does not start (CUDA error 804)"),
    ],
)
def test_a_machine_without_a_gpu_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, driver: Driver | None, reason: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver or raise_missing(name))
    with pytest.raises(CudaUnavailableError) as caught:
        gpu()
    assert reason in str(caught.value)


@pytest.mark.usefixtures("fresh")
def test_the_gpu_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Driver(0, 1))
    assert gpu() == "NVIDIA H200"


def raise_missing(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file: No such file or directory")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None) -> list[str]:
    """NVIDIA's wheels for CUDA 12 and 13, which lay out their files differently, and a list of what is loaded."""
    for file in (
        "cublas/lib/libcublas.so.12",
        "cublas/lib/libcublasLt.so.12",
        "cu13/lib/libcublas.so.13",
        "cu13/lib/libcublasLt.so.13",
        "cu13/lib/libcudart.so.13",
        "cudnn/lib/libcudnn.so.9",
        "cudnn/lib/libcudnn_ops.so.9",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    nvidia = ModuleSpec("nvidia", None, is_package=True)
    nvidia.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", {"nvidia": nvidia}.get)
    loaded: list[str] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: loaded.append(Path(name).name))
    return loaded


def test_nvidias_libraries_are_loaded_after_those_that_they_need(wheels: list[str]) -> None:
    device.load_cuda_libraries()
    assert set(wheels) == {
        "libcuda.so.1",
        "libcudart.so.13",
        *(f"lib{name}.so.{version}" for name in ("cublasLt", "cublas") for version in (12, 13)),
        "libcudnn.so.9",
    }
    for version in (12, 13):
        assert wheels.index(f"libcublasLt.so.{version}") < wheels.index(f"libcublas.so.{version}")
    assert wheels[0] == "libcuda.so.1"
    assert wheels[-1] == "libcudnn.so.9"


def test_nvidias_libraries_are_loaded_before_anybody_looks_for_cuda(wheels: list[str]) -> None:
    load_on("auto", stay, lambda: wheels.append("check"))
    assert wheels.index("check") == len(wheels) - 1 > 0
    load_on("auto", stay, works)
    assert len(wheels) == len(set(wheels))


def test_on_the_cpu_nvidias_libraries_stay_where_they_are(wheels: list[str]) -> None:
    load_on("cpu", stay, works)
    assert wheels == []


def test_without_a_driver_they_stay_there_too(wheels: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", raise_missing)
    device.load_cuda_libraries()
    assert wheels == []


def test_a_library_that_cannot_be_loaded_stops_nobody(wheels: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        if name != "libcuda.so.1":
            raise_missing(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    device.load_cuda_libraries()


# --- ONNX files ---


WEIGHTS = silero._find_weights()


def test_a_session_computes_on_the_cpu(tmp_path: Path) -> None:
    session, place = open_session(WEIGHTS, "cpu", threads=2, mend="Mend it.")
    assert (session.get_providers(), place) == (["CPUExecutionProvider"], "cpu")
    assert session.get_session_options().intra_op_num_threads == 2


@without_gpu
def test_without_a_gpu_auto_computes_on_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    assert open_session(WEIGHTS, "auto", mend="Mend it.")[1] == "cpu"
    assert caplog.records == []


@without_gpu
def test_without_a_gpu_cuda_stops_the_start() -> None:
    with pytest.raises(EngineError, match="CUDA does not work here") as caught:
        open_session(WEIGHTS, "cuda", mend="Mend it.", option="model")
    assert caught.value.option == "device"
    assert "make setup CUDA=1" in caught.value.mend


def test_onnxruntime_without_cuda_says_so() -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime is built with CUDA")
    with pytest.raises(CudaUnavailableError, match="built without"):
        onnx_session.check_cuda()


@pytest.mark.filterwarnings("ignore:Duplicate provider")
def test_a_session_that_silently_takes_the_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As onnxruntime does where CUDA's libraries are missing."""
    monkeypatch.setattr(onnx_session, "check_cuda", works)
    monkeypatch.setattr(onnx_session, "_CUDA", "CPUExecutionProvider")
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _session: ["AnotherProvider"])
    with pytest.raises(EngineError, match="cannot load the libraries of CUDA or cuDNN"):
        open_session(WEIGHTS, "cuda", mend="Mend it.")


def fails(_session: onnxruntime.InferenceSession) -> None:
    raise RuntimeError("no kernel image")


def test_a_model_that_cannot_be_run_is_refused() -> None:
    with pytest.raises(EngineError, match="cannot be run: no kernel image") as caught:
        open_session(WEIGHTS, "cpu", trial=fails, mend="Mend it.", option="model")
    assert (caught.value.option, caught.value.mend) == ("model", "Mend it.")


def test_a_gpu_that_cannot_run_the_model_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_cuda = open_session(WEIGHTS, "cpu", mend="Mend it.")[0]
    monkeypatch.setattr(onnx_session, "check_cuda", works)
    monkeypatch.setattr(onnx_session, "_on_cuda", lambda *_args: on_cuda)

    def trial(session: onnxruntime.InferenceSession) -> None:
        if session is on_cuda:
            fails(session)

    assert open_session(WEIGHTS, "auto", trial=trial, mend="Mend it.")[1] == "cpu"
    assert "no kernel image" in caplog.text
    with pytest.raises(EngineError, match="CUDA does not work here: no kernel image"):
        open_session(WEIGHTS, "cuda", trial=trial, mend="Mend it.")


@pytest.mark.parametrize("wanted", ["cpu", "auto", "cuda"])
@pytest.mark.parametrize("content", [b"", b"damaged", WEIGHTS.read_bytes()[:100_000]])
def test_a_damaged_file_is_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Device, content: bytes
) -> None:
    monkeypatch.setattr(onnx_session, "check_cuda", works)
    (tmp_path / "some.onnx").write_bytes(content)
    with pytest.raises(EngineError, match="cannot be read") as caught:
        open_session(tmp_path / "some.onnx", wanted, mend="Mend it.", option="model")
    assert (caught.value.option, caught.value.mend) == ("model", "Mend it.")


def test_a_damaged_file_writes_nothing_on_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "some.onnx").write_bytes(b"damaged")
    code = (
        "import sys; from pathlib import Path; from pipeline.errors import EngineError\n"
        "from pipeline.onnx_session import open_session\n"
        "try: open_session(Path(sys.argv[1]), 'auto', mend='')\n"
        "except EngineError: pass"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "some.onnx")], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
