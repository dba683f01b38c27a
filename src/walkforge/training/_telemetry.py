"""How much memory training takes, and how busy and warm its GPU is."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from walkforge.base import nvml_handle, open_nvml, resident_bytes


class Telemetry:
    """Reads this process and one device; cheap enough for once an epoch.

    What cannot be read is left out. Why a GPU's utilisation and temperature are left out stands in
    `missing`, and is told once through `note`.
    """

    def __init__(self, device: torch.device, *, note: Callable[[str], None] | None = None) -> None:
        self._device = device
        self._nvml: Any = None
        self._handle: Any = None
        self.missing = ""
        if device.type == "cuda":
            self.missing = self._find_gpu()
        if self.missing and note is not None:
            note(f"utilisation and temperature of {device} are not shown: {self.missing}")

    def read(self) -> dict[str, float]:
        """Return what is known now.

        `memory_bytes`: resident size of this process. On CUDA also `gpu_memory_bytes` of
        `gpu_memory_total_bytes`, taken by whoever uses the device: what is left to this training
        follows from that, and it is what nvidia-smi shows. `gpu_utilisation_frac`, 0 to 1, over
        NVML's last sample of up to a second; `gpu_temperature_c`.
        """
        if self._device.type != "cuda":
            return {"memory_bytes": resident_bytes()}
        free, total = torch.cuda.mem_get_info(self._device)
        return {
            "memory_bytes": resident_bytes(),
            "gpu_memory_bytes": total - free,
            "gpu_memory_total_bytes": total,
            **self._sensors(),
        }

    def _sensors(self) -> dict[str, float]:
        found: dict[str, float] = {}
        if self._handle is None:
            return found
        nvml, handle = self._nvml, self._handle
        # One by one: part of a shared-out GPU (MIG) has a temperature but no utilisation.
        with contextlib.suppress(nvml.NVMLError):
            found["gpu_utilisation_frac"] = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        with contextlib.suppress(nvml.NVMLError):
            kind = nvml.NVML_TEMPERATURE_GPU
            found["gpu_temperature_c"] = float(nvml.nvmlDeviceGetTemperature(handle, kind))
        return found

    def _find_gpu(self) -> str:
        """Open NVML's handle of the device; return why there is none, or an empty text."""
        self._nvml, missing = open_nvml()
        if self._nvml is None:
            return missing
        uuid = str(torch.cuda.get_device_properties(self._device).uuid)
        try:
            self._handle = nvml_handle(self._nvml, uuid)
        except self._nvml.NVMLError as error:
            return f"NVML does not know GPU {uuid}: {error}"
        return ""
