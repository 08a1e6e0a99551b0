"""``ser reproduce`` as a user types it: plan, grid, report, and plain refusals."""

import subprocess
import sys
from importlib import resources

import pytest
from printed import last_line
from small_grid import cache_features, manifest, save_manifest

from ser_cache.cli import run


@pytest.fixture
def grid(empty_folder):
    """Whisper-small on two corpora of the paper and a backbone that is not in it, on one."""
    made = [save_manifest(empty_folder / "manifests", manifest(name)) for name in ("emovo", "emodb")]
    for corpus in made:
        cache_features(empty_folder / "cache", "whisper-small", corpus)
    cache_features(empty_folder / "cache", "whisper-base", made[0], layers=tuple(range(7)))
    return empty_folder


def rows(text, name):
    return [line.split() for line in text.splitlines() if line.startswith(f"{name} ")]


def test_a_dry_run_plans_and_trains_nothing(grid, capsys):
    assert run(["reproduce", "dasaro2024", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "6 of the 162 cells of dasaro2024 can run here" in out
    assert rows(out, "whisper-small")[0][1:] == ["no", "no", "no", "ready", "no", "ready", "no", "no", "no"]
    assert "ser extract --model xls-r --corpus emodb --corpus emovo" in out
    assert "ser manifest demos ROOT\n" in out
    assert "60.87            65.96  -5.09" in out
    assert not (grid / "runs").exists()


def test_a_manifest_that_cannot_be_read_is_named_and_stops_only_who_asks_for_it(grid, capsys):
    (grid / "manifests" / "emodb.csv").write_text("path;emotion\na;b\n")
    for study in ("dasaro2024", "wang2023"):
        assert run(["reproduce", study, "--dry-run"]) == 3
        out, err = capsys.readouterr()
        assert err.startswith("skipped: manifests/emodb.csv has semicolons between its cells")
        assert "What is missing" in out or "how to get it" in out
        assert run(["reproduce", study, "--dry-run", "--corpus", "emodb"]) == 1
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert err.startswith("error: manifests/emodb.csv has semicolons between its cells")


def test_the_grid_runs_and_is_shown_beside_the_paper(grid, capsys):
    command = ["reproduce", "dasaro2024", "--model", "whisper-small", "--also", "whisper-base"]
    command += ["--head", "linear", "--head", "multilayer"]
    (grid / "reports").mkdir()
    assert run([*command, "--output", "reports/ours.md"]) == 0
    out = capsys.readouterr().out
    heads = out.partition("Table 2: mean over corpora")[2].partition("Table 3:")[0]
    table = rows(heads, "whisper-small")
    assert [row[1:5] for row in table] == [[head, "2", "of", "9"] for head in ("linear", "multilayer")]
    assert [row[7] for row in table] == ["60.87", "45.14"]
    for row in table:
        assert float(row[8]) == pytest.approx(float(row[5]) - float(row[7]), abs=0.011)
        assert float(row[9]) == pytest.approx(float(row[6]) - float(row[7]), abs=0.011)
    assert [row[1:5] for row in rows(heads, "whisper-base")] == [
        [head, "1", "of", "9"] for head in ("linear", "multilayer")
    ]
    assert all(len(row) == 7 for row in rows(heads, "whisper-base"))  # no published figure
    (emodb,) = rows(out.partition("Table 3: each corpus")[2], "emodb")
    assert emodb[1:3] == ["whisper-small", "linear"]
    assert emodb[5] == "87.21"
    assert "Figure 2: layer weights" in out
    assert "ser extract --model" not in out  # a plan's business: it would bury the results
    report = (grid / "reports" / "ours.md").read_text(encoding="utf-8")
    for part in (
        "ser extract --model",
        "the published Table 2 is not the mean of Table 3",
        "## Table 2",
        "## Table 3",
        "## Figure 2",
        "CLiC-it 2024",
        "| whisper-small | linear | 2 of 9",
    ):
        assert part in report
    assert run(command) == 0
    assert "6 of 6 runs were reused" in capsys.readouterr().err


def test_other_splits_are_said_to_be_others(grid, capsys):
    command = ["reproduce", "dasaro2024", "--split", "loso", "--dry-run", "--head", "linear"]
    assert run(command) == 0
    out = capsys.readouterr().out
    assert "split loso: the paper's is speaker" in out
    assert "2 of the 54 cells asked for" in out


def test_nothing_at_hand_is_an_error_below_the_plan(empty_folder, capsys):
    assert run(["reproduce", "dasaro2024"]) == 1
    captured = capsys.readouterr()
    assert "ser manifest emovo ROOT" in captured.out
    assert captured.err.startswith("error: no corpus of dasaro2024 is completely cached")
    assert len(captured.err.splitlines()) == 1


def test_what_is_cached_of_other_backbones_is_suggested(grid, capsys):
    assert run(["reproduce", "dasaro2024", "--model", "xls-r"]) == 1
    assert "--also whisper-base" in last_line(capsys)


def test_a_corpus_that_cannot_be_split_does_not_stop_the_others(grid, capsys):
    bad = save_manifest(grid / "manifests", manifest("cafe", ("anger",)))
    cache_features(grid / "cache", "whisper-small", bad)
    assert run(["reproduce", "dasaro2024", "--head", "linear"]) == 1
    captured = capsys.readouterr()
    assert "error: cafe, whisper-small: cafe has the one emotion anger" in captured.err
    assert "2 of 9" in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wang2024"], "unknown study 'wang2024'"),
        (["dasaro2024", "--model", "whisper-base"], "--also whisper-base"),
        (["dasaro2024", "--also", "nothing"], "Known: whisper-base, whisper-small. See: ser cache ls"),
        (["dasaro2024", "--corpus", "ravdess"], "unknown corpus 'ravdess'"),
        (["dasaro2024", "--split", "mine"], "unknown split 'mine'"),
    ],
)
def test_bad_names_are_one_line(grid, capsys, arguments, message):
    assert run(["reproduce", *arguments]) == 1
    assert message in last_line(capsys)


def test_a_dry_run_imports_no_torch(grid):
    code = (
        "import sys; from ser_cache.cli import run; status = run(['reproduce', 'dasaro2024', '--dry-run']);"
        "print({'torch', 'transformers', 'matplotlib'} & set(sys.modules)); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_figures_are_part_of_the_package():
    names = {path.name for path in (resources.files("ser_cache") / "reference").iterdir()}
    assert {"README.md", "dasaro2024_table2_heads.csv", "dasaro2024_table3_best_head_f1.csv"} <= names
