"""Files that a user names: into a folder that is there, or refused before any work is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from printed import last_line
from small_runs import small_run

from ser_cache.cli import run, ser
from ser_cache.cli.options import OutputFile

INPUTS = {"--table", "--labels"}
"""Options that name a file to be read."""


def commands(
    group: click.Group, names: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


OUTPUTS = [
    (names, option.opts[0])
    for names, command in commands(ser)
    for option in command.params
    if isinstance(option.type, OutputFile)
]
NEEDED = {("predict",): ["emovo", "a.wav"], ("reproduce",): ["dasaro2024"], ("describe",): [], ("runs",): []}
"""Arguments that a command asks for before it looks at its options."""


def test_every_file_that_a_command_writes_is_looked_at_alike() -> None:
    files = {
        (names, option.opts[0])
        for names, command in commands(ser)
        for option in command.params
        if isinstance(option.type, click.Path) and not option.type.dir_okay and option.opts[0] not in INPUTS
    }
    assert files == set(OUTPUTS)
    assert {("runs",), ("predict",), ("cluster",), ("audit",), ("layers",)} <= {names for names, _ in OUTPUTS}


@pytest.mark.parametrize(
    ("names", "option"), OUTPUTS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else value
)
@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "absent/deep/out.json",
            "there is no folder absent/deep for out.json; make it first (mkdir -p absent/deep).",
        ),
        ("absent/", "absent/ names a folder; add the name of the file"),
        ("~/out.svg", "the shell leaves ~ as it is"),
        ("here", "here' is a directory"),
    ],
)
def test_a_file_in_a_folder_that_is_not_there_is_refused_in_one_line(
    empty_folder: Path, capsys: pytest.CaptureFixture[str], names, option, path, says
) -> None:
    (empty_folder / "here").mkdir()
    assert run([*names, *NEEDED.get(names, []), f"{option}={path}"]) == 1
    line = last_line(capsys)
    assert line.startswith("error: ")
    assert says in line
    assert [entry.name for entry in empty_folder.iterdir()] == ["here"]


def test_a_folder_that_cannot_be_written_to_is_named(empty_folder, capsys, monkeypatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: not Path(path).is_dir())
    assert run(["runs", "--output", "out.csv"]) == 1
    assert "nothing can be written to the folder ." in last_line(capsys)


def test_a_file_in_a_folder_that_is_there_is_written(empty_folder, capsys) -> None:
    small_run(empty_folder / "runs")
    (empty_folder / "out").mkdir()
    assert run(["runs", "--output", "out/runs.csv"]) == 0
    assert (empty_folder / "out" / "runs.csv").read_text().startswith("run,")
