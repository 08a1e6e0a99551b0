"""Queues of work on a GPU, with stand-ins for them: who gets one, and how many there ever are."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_extraction import run
from fake_extractor import FakeCorpus, FakeExtractor

from ser_cache.extraction import ExtractionOptions, streams
from ser_cache.extraction.streams import own_stream
from ser_cache.store import part_paths


class Stream:
    """A queue that notes for whom it has waited."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.waited: list[str] = []

    def wait_stream(self, other: str) -> None:
        self.waited.append(other)


@pytest.fixture
def made(monkeypatch) -> list[Stream]:
    """Every queue that is made, on a machine that seems to have a GPU."""
    found: list[Stream] = []

    def make(device: str) -> Stream:
        found.append(Stream(device))
        return found[-1]

    stand_ins: dict[str, Any] = {
        "is_available": lambda: True,
        "Stream": make,
        "default_stream": lambda device: f"default of {device}",
        "stream": nullcontext,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(streams, "_idle", {})
    return found


def test_two_at_once_have_a_queue_each_and_later_ones_get_those(made):
    for _ in range(3):
        with own_stream("cuda:0"), own_stream("cuda:0"):
            assert len(made) == 2
    with own_stream("cuda:1"):
        assert [stream.device for stream in made] == ["cuda:0", "cuda:0", "cuda:1"]


def test_a_queue_waits_each_time_for_what_was_queued_before_it(made):
    for _ in range(3):
        with own_stream("cuda:0"):
            pass
    assert [stream.waited for stream in made] == [["default of cuda:0"] * 3]


def test_an_error_gives_the_queue_back(made):
    for _ in range(3):
        with pytest.raises(KeyError), own_stream("cuda:0"):
            raise KeyError
    assert len(made) == 1


def test_a_processor_has_no_queues(made, monkeypatch):
    with own_stream("cpu"):
        pass
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with own_stream("cuda:0"):
        pass
    assert made == []


def test_many_parts_need_no_more_queues_than_one(made, tmp_path):
    """PyTorch would keep freed memory for each, and the GPU fill up with the corpus."""
    corpus, extractor = FakeCorpus.make([3200] * 24), FakeExtractor()
    extractor.device = "cuda:0"
    folder = Path(tmp_path / "fake" / "tones")
    run(corpus, folder, extractor, ExtractionOptions(batch_seconds=0.5, part_bytes=1000))
    assert len(part_paths(folder)) > 3
    assert 1 <= len(made) <= 2
