"""What training says about memory and the GPU, with and without NVIDIA's library."""

import sys
from types import SimpleNamespace

import pytest
import torch

from walkforge.training import _telemetry
from walkforge.training._telemetry import Telemetry

UUID = "11111111-2222-3333-4444-555555555555"
CUDA = torch.device("cuda", 1)


class _NvmlError(Exception):
    pass


class _Nvml:
    """Behaves as `pynvml` on a machine whose GPUs have the given handles."""

    NVMLError = _NvmlError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, handles, *, driver=True, utilisation=37):
        self.handles, self.driver, self.utilisation = handles, driver, utilisation

    def nvmlInit(self):  # noqa: N802
        if not self.driver:
            raise _NvmlError("Driver Not Loaded")

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        if uuid not in self.handles:
            raise _NvmlError("Not Found")
        return self.handles[uuid]

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        if self.utilisation is None:
            raise _NvmlError("Not Supported")
        return SimpleNamespace(gpu=self.utilisation, memory=0)

    def nvmlDeviceGetTemperature(self, handle, kind):  # noqa: N802
        return 60 + handle + kind


@pytest.fixture
def gpu(monkeypatch):
    """Make torch speak of a second CUDA device with 80 of 100 bytes free."""
    found = SimpleNamespace(uuid=UUID)
    monkeypatch.setattr(torch.cuda, "get_device_properties", {CUDA: found}.__getitem__)
    monkeypatch.setattr(torch.cuda, "mem_get_info", {CUDA: (80, 100)}.__getitem__)


def test_on_a_cpu_the_memory_of_this_process_is_told_and_grows_with_what_it_holds():
    telemetry = Telemetry(torch.device("cpu"))
    before = telemetry.read()["memory_bytes"]
    held = torch.ones(2**24)  # 64 MiB
    after = telemetry.read()["memory_bytes"]
    assert after - before > held.nbytes / 2
    assert set(telemetry.read()) == {"memory_bytes"}
    assert telemetry.missing == ""


def test_on_cuda_the_device_is_found_by_its_uuid_whatever_its_number(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", _Nvml({"GPU-other": 0, f"GPU-{UUID}": 7}))
    told = []
    found = Telemetry(CUDA, note=told.append).read()
    assert found.pop("memory_bytes") > 0
    assert found == {
        "gpu_memory_bytes": 20,
        "gpu_memory_total_bytes": 100,
        "gpu_utilisation_frac": 0.37,
        "gpu_temperature_c": 67.0,
    }
    assert told == []


def test_part_of_a_shared_gpu_tells_what_it_can(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", _Nvml({f"MIG-{UUID}": 3}, utilisation=None))
    found = Telemetry(CUDA).read()
    assert "gpu_utilisation_frac" not in found
    assert found["gpu_temperature_c"] == 63.0


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (None, "nvidia-ml-py is not installed"),
        (_Nvml({}, driver=False), "the NVIDIA driver does not answer: Driver Not Loaded"),
        (_Nvml({}), f"NVML does not know GPU {UUID}: Not Found"),
    ],
)
def test_what_nvml_cannot_tell_is_left_out_and_said_once(gpu, monkeypatch, module, reason):
    monkeypatch.setitem(sys.modules, "pynvml", module)
    told = []
    telemetry = Telemetry(CUDA, note=told.append)
    for _ in range(3):
        assert set(telemetry.read()) == {
            "memory_bytes", "gpu_memory_bytes", "gpu_memory_total_bytes"
        }  # fmt: skip
    assert told == [f"utilisation and temperature of cuda:1 are not shown: {reason}"]
    assert telemetry.missing == reason


def test_memory_is_told_on_systems_without_proc_too(monkeypatch, tmp_path):
    machine = sys.modules["walkforge.base._machine"]
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    assert _telemetry.resident_bytes() > 2**20


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_real_gpu_tells_how_full_it_is_and_no_more_than_it_can():
    telemetry = Telemetry(torch.device("cuda", 0))
    found = telemetry.read()
    assert 0 < found["gpu_memory_bytes"] <= found["gpu_memory_total_bytes"]
    if not telemetry.missing:
        assert 0 <= found.get("gpu_utilisation_frac", 0) <= 1
        assert 0 < found.get("gpu_temperature_c", 1) < 150
