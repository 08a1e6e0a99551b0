"""Damaged run folders, as whoever types commands meets them: one line, and --force mends."""

import shutil
from pathlib import Path

import pytest
from printed import last_line

from ser_cache.cli import run
from ser_cache.results.contents import FILES, FINGERPRINT

PROBE = ["probe", "--split", "loso", "--seeds", "1", "--epochs", "1"]


@pytest.fixture
def probed(tones: Path, capsys: pytest.CaptureFixture[str]) -> list[Path]:
    """The folders of two runs, of a linear and of a nonlinear head."""
    assert run(["extract", "--model", "mfcc"]) == 0
    for head in ("linear", "nonlinear"):
        assert run([*PROBE, "--head", head]) == 0
    capsys.readouterr()
    return sorted(Path("runs").iterdir())


def test_a_file_that_is_cut_is_one_line_in_every_command(
    probed: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, other = probed
    whole = shutil.copytree(damaged, tmp_path / "whole")
    for name in (*FILES, FINGERPRINT):
        content = (whole / name).read_bytes()
        (damaged / name).write_bytes(content[: len(content) * 6 // 10])
        for command in (
            [*PROBE, "--head", "linear"],
            ["compare", damaged.name, other.name],
            ["runs", damaged.name],
        ):
            assert run(command) == 1
            assert f"the run runs/{damaged.name} is damaged ({name} " in last_line(capsys)
        assert run(["runs"]) == 3
        out, err = capsys.readouterr()
        assert other.name.rpartition("-")[2][:6] in out
        assert damaged.name in err
        shutil.copy(whole / name, damaged / name)
    assert run(["runs"]) == 0


def test_a_damaged_run_is_repeated_with_force_and_reused_from_then_on(
    probed: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (probed[0] / "weights.safetensors").write_bytes(b"")
    command = [*PROBE, "--head", "linear"]
    assert run(command) == 1
    assert "repeat it with --force" in last_line(capsys)
    assert run([*command, "--force"]) == 0
    capsys.readouterr()
    assert run(command) == 0
    assert "reused" in capsys.readouterr().err
