"""Which device a model runs on, and the way there; torch is imported only when one is chosen."""

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


def moved(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on a device.

    It goes to a GPU by way of pinned memory: from any other, the host would wait until everything queued
    before has been computed.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
