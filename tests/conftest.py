"""Fixtures that every test may use."""

from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real corpora and weights beside the checkout; tests that need it skip without it."""
    if not (_SHARED / "models").is_dir():
        pytest.skip("needs the real corpora and weights in ../shared")
    return _SHARED
