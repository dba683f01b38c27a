"""What this machine has, which path training takes on it and why, and what looks wrong.

    found = doctor()
    found["can_train"], found["findings"]

Nothing here raises for a sick machine: what is broken stands in the findings.
"""

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from walkforge import __version__, execution, features
from walkforge.base import (
    Silent,
    UsageError,
    choose_device,
    choose_precision,
    disk_bytes,
    memory_bytes,
    nvidia_machine,
    processor_name,
    usable_cores,
)

from ._doctor_findings import find_trouble
from ._doctor_speed import measure_speed
from ._folder import workspace
from ._trials import ledger_state
from ._watcher import Watcher

if TYPE_CHECKING:
    import torch

# Where a package's module has another name than the package.
_MODULES = {
    "curl-cffi": "curl_cffi",
    "nvidia-ml-py": "pynvml",
    "PyYAML": "yaml",
    "lightning-fabric": "lightning_fabric",
    "scikit-learn": "sklearn",
    "TA-Lib": "talib",
}


def doctor(*, speed: bool = True, watcher: Watcher | None = None) -> dict[str, Any]:
    """Return the facts of this machine as plain data, with `findings` and `can_train`.

    `speed` adds a check of about ten seconds; without it, or where training cannot run, the key is
    None. Sizes in bytes.
    """
    watcher = watcher or Silent()
    watcher.stage("looking at the machine")
    device, path = _path()
    facts: dict[str, Any] = {
        "system": _system(),
        "libraries": _libraries(),
        "torch": _torch(),
        "gpus": _gpus(),
        "nvidia": nvidia_machine() | {"visible": os.environ.get("CUDA_VISIBLE_DEVICES")},
        "path": path,
        "caches": _caches(),
        "disks": _disks(),
        "trials": ledger_state(),
    }
    facts["findings"] = find_trouble(facts)
    facts["can_train"] = all(one["severity"] != "error" for one in facts["findings"])
    facts["speed"] = measure_speed(device, watcher) if speed and facts["can_train"] else None
    return facts


def _system() -> dict[str, Any]:
    total, available = memory_bytes()
    return {
        "walkforge": __version__,
        "python": platform.python_version(),
        "os": platform.platform(terse=True),
        "processor": processor_name(),
        "cores": os.cpu_count() or 1,
        "usable_cores": usable_cores(),
        "load": os.getloadavg()[0],
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "memory_bytes": total,
        "available_bytes": available,
    }


def _libraries() -> dict[str, dict[str, Any]]:
    """Return for each library that Walkforge needs its version, its range, and what is broken."""
    found = {}
    for line in _requirements():
        name = re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0]
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = None
        problem = _import_problem(_MODULES.get(name, name.lower()))
        found[name] = {"version": version, "range": line[len(name) :], "problem": problem}
    return found


def _requirements() -> list[str]:
    """Return the ranges of pyproject.toml as installed; none where this is no installation."""
    try:
        lines = importlib.metadata.requires("walkforge") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return sorted((line for line in lines if ";" not in line), key=str.lower)


def _import_problem(module: str) -> str | None:
    """Return why a module cannot be imported, such as a C library that is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own future, which is nothing broken
            importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def _torch() -> dict[str, Any]:
    import torch

    return {
        "version": torch.__version__,
        "cuda_build": torch.version.cuda,
        "cuda_available": torch.cuda.is_available(),
        "threads": torch.get_num_threads(),
        "triton": find_spec("triton") is not None,
        "compiler": _compiler(),
    }


def _compiler() -> str | None:
    """Return the C++ compiler that torch would call to compile a model."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def _gpus() -> list[dict[str, Any]]:
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        found.append(
            {
                "name": facts.name,
                "memory_bytes": total,
                "free_bytes": free,
                "capability": f"{facts.major}.{facts.minor}",
            }
        )
    return found


def _path() -> tuple["torch.device", dict[str, Any]]:
    """Return the device that `auto` takes, and every automatic choice with its reason."""
    device, device_reason = choose_device("auto")
    precision, precision_reason = choose_precision("auto", device)
    on_cuda = device.type == "cuda"
    can_compile, compile_reason = _can_compile(on_cuda)
    graph = "whole steps are captured and replayed, so that no launch waits for Python"
    one_by_one = "on the CPU arithmetic counts, not launches"
    return device, {
        "device": str(device),
        "device_reason": device_reason,
        "precision": precision.name,
        "precision_reason": precision_reason,
        "step": "CUDA graph" if on_cuda else "one by one",
        "step_reason": graph if on_cuda else one_by_one,
        "compile": can_compile,
        "compile_reason": compile_reason,
        "problem": _compute_problem(device),
    }


def _can_compile(on_cuda: bool) -> tuple[bool, str]:
    """Return whether `device.compile` can work, and why."""
    if _compiler() is None:
        return False, "no C++ compiler is there (g++ or clang++)"
    if on_cuda and find_spec("triton") is None:
        return False, "triton is not installed"
    return True, "a C++ compiler" + (" and triton are there" if on_cuda else " is there")


def _compute_problem(device: "torch.device") -> str | None:
    """Return why the device cannot compute, as where torch was not built for its age."""
    import torch

    try:
        product = torch.ones(4, 4, device=device) @ torch.ones(4, 4, device=device)
        return None if float(product.sum()) == 64.0 else f"{device} multiplies wrongly"
    except RuntimeError as error:
        return str(error).splitlines()[0]


def _caches() -> dict[str, Any]:
    return {"features": _feature_cache(), "numba": _numba_cache()}


def _feature_cache() -> dict[str, Any]:
    try:
        state = features.cache_state()
    except (UsageError, OSError) as error:
        return {"folder": None, "bytes": 0, "limit_bytes": 0, "problem": str(error)}
    return {
        "folder": str(state.folder),
        "bytes": state.n_bytes,
        "limit_bytes": state.limit_bytes,
        "problem": None,
    }


def _numba_cache() -> dict[str, Any]:
    """Return where compiled kernels lie: beside their files, where numba can write there."""
    package = Path(execution.__file__ or "").parent.parent
    usual = package if os.access(package, os.W_OK) else Path.home() / ".cache" / "numba"
    folder = Path(os.environ.get("NUMBA_CACHE_DIR", usual))
    kept = [path for path in folder.rglob("*.nb[ci]") if path.is_file()]
    return {
        "folder": str(folder),
        "bytes": sum(path.stat().st_size for path in kept),
        "writable": os.access(folder if folder.exists() else folder.parent, os.W_OK),
    }


def _disks() -> list[dict[str, Any]]:
    """Return what is free where runs and the feature cache lie."""
    places = {"runs": str(workspace().absolute()), "cache": _feature_cache()["folder"]}
    found = []
    for what, place in places.items():
        if place is not None:
            total, free = disk_bytes(Path(place))
            found.append({"what": what, "folder": place, "bytes": total, "free_bytes": free})
    return found
