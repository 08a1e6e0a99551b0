"""Tables, progress and what stands around them, in terminals of any width and in pipes."""

from __future__ import annotations

import io
import re

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ser_cache.cli import screen
from ser_cache.cli.table_layout import fold, lay_out

NAMES = ("whisper-tiny.en-encoder", "whisper-base-encoder+int8+avg3", "facebook--hubert-xlarge-ll60k")
COLUMNS = {"run": "left", "backbone": "fold", "split": "fold", "UA": "right", "WA": "right", "F1": "right"}
ROWS = [
    ("82b276", name, "5 folds, random validation", "80.4±10.6", "80.1±10.2", "79.9±10.1") for name in NAMES
]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch):
    """Make stdout a terminal of so many columns."""

    def of(width: int) -> None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    return of


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return click.unstyle(capsys.readouterr().out).splitlines()


@given(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=60), st.integers(2, 30))
def test_folding_loses_no_character_and_no_line_is_too_wide(text: str, width: int) -> None:
    lines = fold(text, width)
    assert "".join(lines) == text
    from rich.cells import cell_len

    assert all(cell_len(line) <= max(width, 2) for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_names_fold_behind_hyphens_and_signs_and_not_in_a_word(name: str) -> None:
    pieces = re.findall(r"[^-+ ]+[-+]*", name)
    lines = fold(name, max(map(len, pieces)))
    assert "".join(lines) == name
    assert [line for line in lines if not all(p in pieces for p in re.findall(r"[^-+ ]+[-+]*", line))] == []


@pytest.mark.parametrize("width", [60, 70, 80, 100])
def test_in_a_terminal_words_stay_whole_and_left_out_columns_are_named(width, terminal, capsys) -> None:
    terminal(width)
    screen.table("Runs", COLUMNS, ROWS, spare=("WA", "UA"))
    lines = printed(capsys)
    assert max(map(len, lines)) <= width
    words = set(" ".join(lines).split())
    for name in NAMES:
        assert set(re.findall(r"[^-+]+[-+]*", name)) <= {
            piece for word in words for piece in re.findall(r"[^-+]+[-+]*", word)
        }
    absent = [heading for heading in ("WA", "UA") if heading not in lines[2].split()]
    assert absent == ["WA", "UA"][: len(absent)]
    told = [line for line in lines if line.startswith("no room for")]
    assert bool(told) is bool(absent)
    if absent:
        assert told[0].startswith(f"no room for {', '.join(absent)}")


def test_a_wide_terminal_and_a_pipe_show_everything_on_one_line_each(terminal, capsys) -> None:
    screen.table("Runs", COLUMNS, ROWS, spare=("WA",))
    piped = printed(capsys)
    terminal(200)
    screen.table("Runs", COLUMNS, ROWS, spare=("WA",))
    assert printed(capsys) == piped
    assert len(piped) == 3 + len(ROWS) + 1
    for row, line in zip(ROWS, piped[3:], strict=False):
        assert all(cell in line for cell in row)


def test_a_pipe_cuts_nothing_however_wide(capsys) -> None:
    path = "/".join(["folder"] * 200) + "/clip.wav"
    screen.table("Files", {"file": "fold", "emotion": "left"}, [(path, "anger")])
    assert printed(capsys)[3] == f"{path}  anger"


def test_names_that_take_two_cells_a_letter_are_measured_so(terminal, capsys) -> None:
    terminal(30)
    screen.table("Files", {"file": "fold", "emotion": "left"}, [("録音/喜び怒り哀しみ楽しさ.wav", "anger")])
    lines = printed(capsys)
    from rich.cells import cell_len

    assert max(map(cell_len, lines)) <= 30


def test_a_line_feed_in_a_name_starts_no_row(capsys) -> None:
    screen.table("Files", {"file": "fold"}, [("a\nb\x1b[31m.wav",)])
    assert printed(capsys)[3] == "a\\nb\\x1b[31m.wav"


def test_words_are_broken_only_where_that_makes_a_table_fit() -> None:
    columns, rows = {"file": "fold", "emotion": "left"}, [("somebody_shouting.wav", "anger")]
    assert lay_out(columns, rows, 18).rows[0][0].split("\n") == ["somebody_", "shouting.w", "av"]
    assert lay_out(columns, rows, 12).rows[0][0].split("\n") == ["somebody_", "shouting.wav"]


def test_an_estimate_counts_from_where_the_counted_work_begins(monkeypatch, capsys) -> None:
    now = [0.0]
    monkeypatch.setattr(screen, "monotonic", lambda: now[0])
    with screen.bar("emovo tiny", 30) as bar:
        now[0] = 100.0
        bar.update(0, "linear")
        now[0] = 140.0
        bar.update(4, "multilayer")
    assert capsys.readouterr().err.splitlines() == [
        "emovo tiny: 0/30 linear",
        "emovo tiny: 4/30 multilayer, about 260 s left",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_time_left_is_on_the_progress_line_whatever_the_detail(width, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with screen.bar("emodb4 whisper-tiny.en-encoder+int8", 12_345) as bar:
        bar.restate(6_000, 12_345, "fold f1, linear, nonlinear, multilayer, superb, pepino")
        shown = io.StringIO()
        Console(file=shown, width=width).print(bar.progress)
    (line,) = shown.getvalue().splitlines()
    assert re.search(r"6000/12345 +[-:\d]+ left", line)
    assert len(line.rstrip()) <= width
    if width >= 80:
        assert "fold f1" in line
