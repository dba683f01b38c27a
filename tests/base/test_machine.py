"""What the machine says about itself, and a container's own limits."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from walkforge import base
from walkforge.base import (
    disk_bytes,
    memory_bytes,
    nvidia_machine,
    peak_resident_bytes,
    processor_name,
    resident_bytes,
    usable_cores,
)

machine = sys.modules["walkforge.base._machine"]


@pytest.fixture
def container(monkeypatch, tmp_path):
    """Return a folder that stands where the system tells a container's limits."""
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    return tmp_path


def test_this_process_holds_some_memory_and_never_more_than_its_peak():
    assert 2**20 < resident_bytes() <= peak_resident_bytes() + 2**20


def test_a_child_does_not_count_what_its_parent_held():
    held = b"x" * (400 * 2**20)
    ask = "from walkforge.base import peak_resident_bytes; print(peak_resident_bytes())"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert 2**20 < int(done.stdout) < len(held) // 2


def test_this_machine_has_a_processor_memory_and_a_disk(tmp_path):
    assert processor_name()
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    total, available = memory_bytes()
    assert total > 2**28
    assert available is None or 0 < available <= total
    size, free = disk_bytes(tmp_path / "not" / "yet" / "there")
    assert 0 <= free <= size


def test_a_containers_limits_count_where_they_are_lower(container):
    (container / "cpu.max").write_text("100000 100000\n")
    (container / "memory.max").write_text(f"{2**28}\n")
    (container / "memory.current").write_text(f"{2**27}\n")
    assert usable_cores() == 1
    total, available = memory_bytes()
    assert total == 2**28
    assert available is not None
    assert available <= 2**27


def test_a_container_without_limits_has_the_machines(container):
    whole = usable_cores(), memory_bytes()[0]
    (container / "cpu.max").write_text("max 100000\n")
    (container / "memory.max").write_text("max\n")
    assert (usable_cores(), memory_bytes()[0]) == whole


def test_without_proc_the_processor_has_a_name_and_free_memory_is_not_told(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    assert processor_name()
    assert memory_bytes()[1] is None


def test_gpus_are_named_whether_torch_can_use_them_or_not(monkeypatch):
    nvml = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: f"GPU {handle}",
        nvmlSystemGetDriverVersion=lambda: "580.1",
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert nvidia_machine() == {"driver": "580.1", "names": ["GPU 0", "GPU 1"], "missing": ""}
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvidia_machine()["missing"] == "nvidia-ml-py is not installed"
    assert base.open_nvml()[0] is None
