"""What the doctor finds wrong: healthy facts, made sick one by one."""

import copy

import pytest

from walkforge import study
from walkforge.base import UsageError
from walkforge.study import _doctor, _doctor_speed
from walkforge.study._doctor_findings import find_trouble, outside

GIB = 2**30
HEALTHY = {
    "system": {"usable_cores": 8, "omp_num_threads": None, "available_bytes": 20 * GIB, "load": 0},
    "libraries": {
        "numpy": {"version": "2.4.6", "range": "<3,>=2.2", "problem": None},
        "nvidia-ml-py": {"version": "13.1", "range": "<14,>=12", "problem": None},
    },
    "torch": {
        "version": "2.13.0+cpu",
        "cuda_build": None,
        "cuda_available": False,
        "threads": 8,
    },
    "gpus": [],
    "nvidia": {"names": [], "driver": None, "visible": None},
    "path": {"device": "cpu", "problem": None},
    "caches": {"features": {"problem": None}},
    "disks": [{"what": "runs", "folder": "/runs", "free_bytes": 50 * GIB}],
    "trials": {"path": "/runs/trials.jsonl", "lines": 3, "trouble": None},
}
WITH_GPU = {
    "nvidia.names": ["NVIDIA H100"],
    "nvidia.driver": "470.1",
}
CUDA_BUILD = {"torch.version": "2.13.0", "torch.cuda_build": "13.0"}


def _trouble(changes):
    facts = copy.deepcopy(HEALTHY)
    for path, value in changes.items():
        *places, last = path.split(".")
        section = facts
        for place in places:
            section = section[place]
        section[last] = value
    return find_trouble(facts)


def test_a_healthy_machine_has_no_findings():
    assert _trouble({}) == []


@pytest.mark.parametrize(
    ("changes", "severity", "what", "hint"),
    [
        (WITH_GPU, "warning", "NVIDIA H100 is in this machine", "is a build for CPUs"),
        (
            WITH_GPU | CUDA_BUILD,
            "warning",
            "torch cannot use it",
            "built for CUDA 13.0, the driver is 470.1",
        ),
        (
            WITH_GPU | CUDA_BUILD | {"nvidia.visible": "-1"},
            "warning",
            "torch cannot use it",
            "CUDA_VISIBLE_DEVICES is '-1'",
        ),
        (
            {"gpus": [{"memory_bytes": 80 * GIB, "free_bytes": 3 * GIB}]},
            "warning",
            "cuda:0: only 3.0 of 80.0 GiB are free",
            "nvidia-smi",
        ),
        ({"path.problem": "no kernel image"}, "error", "cpu cannot compute: no kernel", "driver"),
        ({"libraries.numpy.version": None}, "error", "numpy is not installed", "pip install"),
        (
            {"libraries.numpy.problem": "OSError: libgomp.so.1"},
            "error",
            "numpy 2.4.6 cannot be imported: OSError: libgomp.so.1",
            "pip install",
        ),
        (
            {"libraries.numpy.version": "1.26.4"},
            "warning",
            "numpy 1.26.4 is outside of the range <3,>=2.2",
            "pip install 'numpy<3,>=2.2'",
        ),
        ({"libraries.nvidia-ml-py.version": None}, "warning", "not installed", "pip install"),
        ({"system.available_bytes": GIB}, "warning", "only 1.0 GiB of memory", "symbols"),
        (
            {"disks": [{"what": "cache", "folder": "/c", "free_bytes": 0}]},
            "warning",
            "/c: only 0.0 GiB of disk",
            "WALKFORGE_CACHE",
        ),
        (
            {"disks": [{"what": "runs", "folder": "/r", "free_bytes": 0}]},
            "error",
            "/r: only 0.0 GiB of disk",
            "--out",
        ),
        (
            {"system.omp_num_threads": "1", "torch.threads": 1},
            "warning",
            "OMP_NUM_THREADS is 1 on 8 cores",
            "unset",
        ),
        ({"torch.threads": 64}, "warning", "64 threads, but", "OMP_NUM_THREADS=8"),
        ({"trials.trouble": "the trial ledger is gone"}, "warning", "ledger is gone", "trials"),
        ({"system.load": 6.5}, "warning", "other programs keep 6.5 of 8 cores busy", "close"),
        (
            {"caches.features.problem": "WALKFORGE_CACHE_GIB is 'x'"},
            "error",
            "WALKFORGE_CACHE_GIB is 'x'",
            "variable",
        ),
    ],
)
def test_what_looks_wrong_is_named_with_a_hint(changes, severity, what, hint):
    (finding,) = _trouble(changes)
    assert finding["severity"] == severity
    assert what in finding["what"]
    assert hint in finding["hint"]


def test_errors_come_first():
    found = _trouble({"system.available_bytes": 0, "path.problem": "broken"})
    assert [one["severity"] for one in found] == ["error", "warning"]


def test_what_is_not_told_is_no_trouble():
    assert _trouble({"system.available_bytes": None, "libraries": {}, "disks": []}) == []


@pytest.mark.parametrize(
    ("version", "wanted", "is_outside"),
    [
        ("2.13.0+cpu", "<3,>=2.11", False),
        ("2.9.1", "<3,>=2.11", True),
        ("3.0.0", "<3,>=2.11", True),
        ("3", "<3", True),
        ("2.2", ">=2.2.0", False),
        ("13.615.71", "<14,>=12.570", False),
        ("0.9.0rc1", "<0.9,>=0.6.5", True),
        ("1.0", "", False),
    ],
)
def test_versions_are_compared_number_by_number(version, wanted, is_outside):
    assert outside(version, wanted) is is_outside


def test_this_machine_can_train_and_the_doctor_says_how(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WALKFORGE_WORKSPACE")
    facts = study.doctor(speed=False)
    assert facts["can_train"], facts["findings"]
    assert facts["speed"] is None
    assert facts["libraries"]["TA-Lib"]["problem"] is None
    assert facts["path"]["device_reason"]
    assert facts["path"]["step_reason"]
    assert {disk["what"] for disk in facts["disks"]} == {"runs", "cache"}
    assert facts["disks"][0]["folder"] == str(tmp_path / "runs")
    assert facts["caches"]["numba"]["bytes"] >= 0


def test_a_sick_machine_is_described_and_not_measured(monkeypatch):
    def refuse():
        raise UsageError("WALKFORGE_CACHE_GIB is 'x'")

    monkeypatch.setattr(_doctor.features, "cache_state", refuse)
    monkeypatch.setattr(_doctor, "measure_speed", None)
    facts = study.doctor()
    assert not facts["can_train"]
    assert facts["speed"] is None
    assert "WALKFORGE_CACHE_GIB is 'x'" in facts["findings"][0]["what"]


def test_without_a_compiler_compile_cannot_be_used(monkeypatch):
    monkeypatch.setattr(_doctor.shutil, "which", lambda name: None)
    assert _doctor._can_compile(on_cuda=False) == (
        False,
        "no C++ compiler is there (g++ or clang++)",
    )
    monkeypatch.setattr(_doctor.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(_doctor, "find_spec", lambda name: None)
    assert _doctor._can_compile(on_cuda=False)[0]
    assert _doctor._can_compile(on_cuda=True) == (False, "triton is not installed")


def test_speed_is_measured_for_every_part_of_a_run(monkeypatch):
    small = {"_N_MEMBERS": 2, "_TRAIN_ROWS": 512, "_EPOCHS": 2, "_N_BARS": 2_000, "_BUDGET_S": 0}
    for name, value in small.items():
        monkeypatch.setattr(_doctor_speed, name, value)
    speed = study.doctor()["speed"]
    assert speed.pop("n_members") == 2
    assert set(speed) == {
        "matmul_gflop_per_s", "memory_gb_per_s", "packed_rows_per_s", "plain_rows_per_s",
        "packed_ratio", "feature_rows_per_s", "backtest_bars_per_s",
    }  # fmt: skip
    assert all(value > 0 for value in speed.values())
