"""What looks wrong with a machine, and what helps: facts of `_doctor` to findings."""

import re
from collections.abc import Iterator
from typing import Any

_GIB = 2**30
_LEAST_MEMORY_BYTES = 4 * _GIB
_LEAST_DISK_BYTES = 5 * _GIB
_NO_DISK_BYTES = 0.2 * _GIB
_LEAST_GPU_SHARE_FREE = 0.5
_MANY_CORES = 4
_BUSY_SHARE = 0.5

Finding = dict[str, str]


def find_trouble(facts: dict[str, Any]) -> list[Finding]:
    """Return findings, errors first: `severity` (`error`: training cannot run), `what`, `hint`."""
    looks = (
        _libraries,
        _compute,
        _hidden_gpu,
        _full_gpu,
        _memory,
        _disks,
        _threads,
        _busy,
        _caches,
        _trials,
    )
    found = [finding for look in looks for finding in look(facts)]
    return sorted(found, key=lambda finding: finding["severity"] != "error")


def outside(version: str, wanted: str) -> bool:
    """Return whether a version such as `2.13.0+cpu` breaks a range such as `<3,>=2.11`."""
    own = _numbers(version)
    for sign, bound in re.findall(r"(>=|<)\s*([\d.]+)", wanted):
        if (own < _numbers(bound)) == (sign == ">="):
            return True
    return False


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release of a version as numbers, without zeros at the end: 3.0 is 3."""
    release = re.match(r"[\d.]*\d", version)
    text = release.group() if release else "0"
    return tuple(int(part) for part in re.sub(r"(\.0)+$", "", text).split("."))


def _libraries(facts: dict[str, Any]) -> Iterator[Finding]:
    again = "install Walkforge again with `pip install -e .` and the file in constraints/"
    for name, library in facts["libraries"].items():
        version, wanted = library["version"], library["range"]
        # Without its own library a GPU computes as well; only its temperature is not shown.
        weight = "warning" if name == "nvidia-ml-py" else "error"
        if version is None:
            yield _finding(weight, f"{name} is not installed", again)
        elif library["problem"] is not None:
            what = f"{name} {version} cannot be imported: {library['problem']}"
            yield _finding(weight, what, again)
        elif outside(version, wanted):
            what = f"{name} {version} is outside of the range {wanted}"
            yield _finding("warning", what, f"pip install '{name}{wanted}'")


def _compute(facts: dict[str, Any]) -> Iterator[Finding]:
    path = facts["path"]
    if path["problem"] is not None:
        hint = "update the driver or torch, or train on the CPU: --set device.device=cpu"
        yield _finding("error", f"{path['device']} cannot compute: {path['problem']}", hint)


def _hidden_gpu(facts: dict[str, Any]) -> Iterator[Finding]:
    nvidia, torch = facts["nvidia"], facts["torch"]
    if not nvidia["names"] or torch["cuda_available"]:
        return
    what = f"{', '.join(nvidia['names'])} is in this machine, but torch cannot use it"
    if torch["cuda_build"] is None:
        hint = f"torch {torch['version']} is a build for CPUs: install one for CUDA (pytorch.org)"
    elif nvidia["visible"] is not None:
        hint = f"CUDA_VISIBLE_DEVICES is {nvidia['visible']!r}: unset it"
    else:
        hint = (
            f"torch is built for CUDA {torch['cuda_build']}, the driver is {nvidia['driver']}: "
            "update the driver, or install torch for an older CUDA"
        )
    yield _finding("warning", what, hint)


def _full_gpu(facts: dict[str, Any]) -> Iterator[Finding]:
    for number, gpu in enumerate(facts["gpus"]):
        if gpu["free_bytes"] < _LEAST_GPU_SHARE_FREE * gpu["memory_bytes"]:
            free, total = gpu["free_bytes"] / _GIB, gpu["memory_bytes"] / _GIB
            what = f"cuda:{number}: only {free:.1f} of {total:.1f} GiB are free"
            yield _finding("warning", what, "nvidia-smi names the programs that hold the rest")


def _memory(facts: dict[str, Any]) -> Iterator[Finding]:
    free = facts["system"]["available_bytes"]
    if free is not None and free < _LEAST_MEMORY_BYTES:
        hint = "close other programs, or train fewer symbols at once: --set data.symbols=[...]"
        yield _finding("warning", f"only {free / _GIB:.1f} GiB of memory are free", hint)


def _disks(facts: dict[str, Any]) -> Iterator[Finding]:
    for disk in facts["disks"]:
        free = disk["free_bytes"]
        if free < _LEAST_DISK_BYTES:
            weight = "error" if disk["what"] == "runs" and free < _NO_DISK_BYTES else "warning"
            what = f"{disk['folder']}: only {free / _GIB:.1f} GiB of disk are free"
            other = "--out FOLDER" if disk["what"] == "runs" else "WALKFORGE_CACHE=FOLDER"
            yield _finding(weight, what, f"delete what is old, or go elsewhere with {other}")


def _threads(facts: dict[str, Any]) -> Iterator[Finding]:
    cores, threads = facts["system"]["usable_cores"], facts["torch"]["threads"]
    if facts["system"]["omp_num_threads"] == "1" and cores >= _MANY_CORES:
        what = f"OMP_NUM_THREADS is 1 on {cores} cores: training uses one of them"
        yield _finding("warning", what, "unset OMP_NUM_THREADS")
    elif threads > cores:
        what = f"torch uses {threads} threads, but this process may use {cores} cores only"
        yield _finding("warning", what, f"set OMP_NUM_THREADS={cores}")


def _busy(facts: dict[str, Any]) -> Iterator[Finding]:
    load, cores = facts["system"]["load"], facts["system"]["usable_cores"]
    if load > _BUSY_SHARE * cores:
        # Threads that wait for each other in every operation are slowed far more than one alone.
        what = f"other programs keep {load:.1f} of {cores} cores busy: training and speeds suffer"
        yield _finding("warning", what, "close them, or set OMP_NUM_THREADS to what they leave")


def _caches(facts: dict[str, Any]) -> Iterator[Finding]:
    if facts["caches"]["features"]["problem"] is not None:
        what = f"feature cache: {facts['caches']['features']['problem']}"
        yield _finding("error", what, "correct that variable, or unset it")


def _trials(facts: dict[str, Any]) -> Iterator[Finding]:
    if facts["trials"]["trouble"] is not None:
        hint = "`walkforge trials` lists what is left; docs/trials.md says what it is for"
        yield _finding("warning", facts["trials"]["trouble"], hint)


def _finding(severity: str, what: str, hint: str) -> Finding:
    return {"severity": severity, "what": what, "hint": hint}
