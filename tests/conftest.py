"""Fixtures that every test may use."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_corpora import PATTERN, write_tone_corpus

from ser_cache.cli import run

if TYPE_CHECKING:
    from fake_extractor import FakeCorpus

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real corpora and weights beside the checkout; tests that need it skip without it."""
    if not (_SHARED / "models").is_dir():
        pytest.skip("needs the real corpora and weights in ../shared")
    return _SHARED


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[[str], ModuleType]:
    """Imports a benchmark by name."""
    monkeypatch.syspath_prepend(str(request.config.rootpath / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, so that ./manifests, ./cache and ./runs are its own."""
    for variable in ("SER_CACHE_MANIFESTS", "SER_CACHE_CACHE", "SER_CACHE_RUNS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tones(empty_folder: Path) -> Path:
    """The tone corpus with its manifest made; returns its root."""
    root = write_tone_corpus(empty_folder / "tones")
    assert run(["manifest", "tones", str(root), "--pattern", PATTERN]) == 0
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an extraction of a corpus stores its parts; not there yet."""
    return tmp_path / "fake" / "corpus"


@pytest.fixture
def corpus() -> FakeCorpus:
    """Twenty made-up clips of 0.02 to 0.4 s."""
    from fake_extractor import FakeCorpus  # imports torch, which most tests do without

    return FakeCorpus.make(np.random.default_rng(1).integers(320, 6000, size=20).tolist())


@pytest.fixture
def small_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grids of classical classifiers that take a second."""
    from small_baselines import SMALL

    from ser_cache.baselines import CLASSIFIERS

    for name, grid in SMALL.items():
        monkeypatch.setitem(CLASSIFIERS, name, replace(CLASSIFIERS[name], grid=grid))
