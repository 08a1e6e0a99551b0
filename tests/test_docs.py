"""The worked example of docs/custom-corpora.md, run as it stands: it works, and prints what the page says."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_cache.cli import run
from ser_cache.importing import read_labels
from ser_cache.importing.naming import NamePattern
from ser_cache.tables import read_rows

PAGE = Path(__file__).resolve().parents[1] / "docs" / "custom-corpora.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"#")


def blocks(kind: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8")) if found == kind]


def commands(block: str) -> Iterator[tuple[list[str], list[str]]]:
    """What is typed, and the lines that follow it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        typed, *printed = part.rstrip("\n").split("\n")
        yield shlex.split(typed)[1:], printed


def matches(expected: list[str], printed: list[str]) -> bool:
    """Whether lines are as the page has them: ``...`` for any lines, ``#`` for a number, spaces for some."""

    def one(line: str) -> str:
        if line == "...":
            return r"(?:.*\n)*?"
        words = [r"[-\w.±]+".join(map(re.escape, _NUMBER.split(word))) for word in line.split()]
        return r" *" + r" +".join(words) + r" *\n"

    return re.fullmatch("".join(map(one, expected)), "".join(f"{line}\n" for line in printed)) is not None


@pytest.mark.slow
def test_the_worked_example_runs_and_prints_what_the_page_says(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("espeakng_loader")
    monkeypatch.setattr("ser_cache.cli.screen.SECONDS_BETWEEN_LINES", float("inf"))  # of a slow machine
    (setup,) = blocks("python")
    exec(compile(setup, str(PAGE), "exec"), {})  # noqa: S102 - the page's own code is what is tested
    for block in blocks("console"):
        for words, expected in commands(block):
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                status = run(words)
            printed = [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]
            wanted = [line for line in expected if line.strip()]
            assert status == (
                3 if any(" failed; all" in line for line in wanted) else "error:" in str(wanted)
            )
            if wanted:
                assert matches(wanted, printed), f"{shlex.join(words)}\n" + "\n".join(printed)


def test_the_label_maps_of_the_page_can_be_read(tmp_path: Path) -> None:
    maps = blocks("toml")
    assert len(maps) >= 3
    for number, text in enumerate(maps):
        path = tmp_path / f"{number}.toml"
        path.write_text(text, encoding="utf-8")
        assert read_labels(path).emotions


def _rows() -> list[tuple[str, str, tuple[str, ...]]]:
    """Corpus, pattern and codes of the page's table."""
    table = re.findall(
        r"^\| ([A-Z]+) \| `[^`]+` \| `([^`]+)` \| ([^|]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    return [(corpus.lower(), pattern, tuple(re.findall(r"\w+", codes))) for corpus, pattern, codes in table]


@pytest.mark.parametrize(("corpus", "pattern", "codes"), _rows(), ids=lambda value: str(value)[:8])
def test_a_published_corpus_is_read_by_the_pattern_of_the_page(
    shared: Path, corpus: str, pattern: str, codes: tuple[str, ...]
) -> None:
    names = NamePattern.compile(pattern)
    rows = read_rows(shared / "reference" / "file_lists" / f"{corpus}.csv", ("file", "speaker"), "")
    found = set()
    for _, cells in rows.cells:
        row = dict(zip(rows.columns, cells, strict=True))
        texts, reason = names.match(row["file"])
        assert texts is not None, reason
        assert texts["speaker"] == row["speaker"]
        assert texts["emotion"].lower() == row["emotion_original"].lower()
        found.add(texts["emotion"])
    canonical = {"anger", "disgust", "fear", "neutral", "surprise"}
    assert {code for code in found if code.lower() not in canonical} <= set(codes)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b 1", "..."]), max_size=5))
def test_a_line_more_or_another_word_is_no_match(lines: list[str]) -> None:
    expected = [line for line in lines if line != "..."]
    assert matches(expected, expected)
    assert not matches(expected, [*expected, "a"])
    assert not matches(["b #"], ["c 1"])
    assert matches([*expected, "..."], [*expected, "a", "b 1"])
