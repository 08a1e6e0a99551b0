"""Which device a name means, for extraction and training alike."""

import pytest
import torch

from ser_cache.devices import check_device, choose_device
from ser_cache.errors import SettingsError, UnknownNameError


@pytest.mark.parametrize(
    ("name", "available", "chosen"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_a_device_is_chosen_by_name_and_by_what_there_is(monkeypatch, name, available, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert choose_device(name) == torch.device(chosen)


def test_cuda_where_there_is_none_names_the_way_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=r"no CUDA device.*--device cpu or auto"):
        choose_device("cuda")


@pytest.mark.parametrize("check", [check_device, choose_device])
def test_an_unknown_device_lists_the_known_ones(check):
    with pytest.raises(UnknownNameError, match=r"unknown device 'tpu'.*Known: auto, cpu, cuda"):
        check("tpu")
