"""What a result may depend on beside its configuration: versions, threads, device."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np
import torch

from ser_cache import __version__


def environment(device: torch.device) -> dict[str, Any]:
    """What a result may depend on beside its configuration, as JSON: versions, threads, device."""
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "ser_cache": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "device": device.type,
        "device_name": named,
        "platform": platform.platform(),
    }
