"""What a command printed."""

import pytest


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line on stderr, which says what went wrong; never a traceback."""
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err.strip().splitlines()[-1]
