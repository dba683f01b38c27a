"""NVIDIA's management library: what is known of a GPU without touching it."""

from types import ModuleType
from typing import Any


def open_nvml() -> tuple[ModuleType | None, str]:
    """Return nvidia-ml-py's module, ready to be asked, or None and the reason in words."""
    try:
        import pynvml
    except ImportError:
        return None, "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"the NVIDIA driver does not answer: {error}"
    return pynvml, ""


def nvml_handle(nvml: ModuleType, uuid: str) -> Any:
    """Return NVML's handle of the GPU with this UUID, a bare one as torch gives it.

    Only the UUID finds the same GPU whatever CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER say. Part
    of a GPU that is shared out (MIG) has a prefix of its own. Raises NVMLError.
    """
    try:
        return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except nvml.NVMLError:
        return nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")


def nvidia_machine() -> dict[str, Any]:
    """Return `driver` and the `names` of all NVIDIA GPUs of this machine, or why not (`missing`).

    torch is not asked: a GPU that torch cannot use stands here too.
    """
    nvml, missing = open_nvml()
    if nvml is None:
        return {"driver": None, "names": [], "missing": missing}
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        names = [nvml.nvmlDeviceGetName(handle) for handle in handles]
        return {"driver": nvml.nvmlSystemGetDriverVersion(), "names": names, "missing": ""}
    except nvml.NVMLError as error:
        return {"driver": None, "names": [], "missing": f"NVML: {error}"}
