"""Which device a model runs on; torch is imported only when one is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ser_cache.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")
"""What can be asked for; "auto" is CUDA where there is one."""


def check_device(name: str) -> None:
    """Refuse a device that no machine has.

    Raises:
        UnknownNameError: not one of ``DEVICES``.
    """
    if name not in DEVICES:
        raise UnknownNameError("device", name, DEVICES)


def choose_device(name: str) -> torch.device:
    """The device that one of ``DEVICES`` means on this machine.

    Raises:
        UnknownNameError: not one of ``DEVICES``.
        SettingsError: CUDA was asked for and there is none.
    """
    import torch

    check_device(name)
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise SettingsError("there is no CUDA device that this torch can use; choose --device cpu or auto.")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
