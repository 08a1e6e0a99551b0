import json
from types import SimpleNamespace

import pytest
from small_corpora import PATTERN, write_tone_corpus
from small_models import save_whisper

from ser_cache import cli


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    home = tmp_path_factory.mktemp("benchmarks")
    root = write_tone_corpus(home / "audio")
    assert (
        cli.run(["manifest", "tones", str(root), "--pattern", PATTERN, "--manifests", str(home / "m")]) == 0
    )
    folders = ["--manifests", home / "m", "--cache", home / "c", "--runs", home / "r", "--epochs", 1]
    return SimpleNamespace(home=home, arguments=list(map(str, folders)))


def written(home):
    return {path: path.stat().st_mtime_ns for place in ("c", "r") for path in (home / place).rglob("*.*")}


def table(text, title):
    """The rows of the table under a heading that begins so, without its columns."""
    lines = text.partition(f"### {title}")[2].split("###")[0].splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("|")][2:]


def test_storage_measures_every_variant_and_repeats_nothing(corpus, script, capsys, monkeypatch):
    storage = script("storage")
    monkeypatch.setattr(storage, "ROUNDS", 1)
    json_file = corpus.home / "storage.json"
    command = ["mfcc", "tones", *corpus.arguments, "--heads", "linear,multilayer"]
    command += ["--json", str(json_file), "--alternatives"]
    storage.main(command)
    first = capsys.readouterr().out
    assert [row[0] for row in table(first, "Size")] == list(storage.VARIANTS)
    assert [row[:2] for row in table(first, "Relative error")] == [
        ["tones", name] for name in ("fp16", "int8", "avg2", "avg4")
    ]
    assert len(table(first, "Ways of using eight bits")) == 3
    losses = table(first, "Macro F1")
    assert [row[0] for row in losses] == ["tones linear", "tones multilayer"]
    # The linear head trains from the time means, which no codec touches.
    assert losses[0][2:] == ["+0.0 ± 0.0 (0/5)"] * 5
    assert losses[1][-1] == "none"  # time means do not serve it
    figures = json.loads(json_file.read_text())
    assert figures["errors"]["tones"]["fp16"]["1"] < figures["errors"]["tones"]["int8"]["1"] < 0.02

    before = written(corpus.home)
    storage.main(command)
    assert written(corpus.home) == before
    assert table(capsys.readouterr().out, "Macro F1") == losses


def test_a_study_reuses_what_the_commands_made(corpus, script, capsys):
    places = corpus.arguments[:4]
    assert cli.run(["extract", "--model", "mfcc", "--corpus", "tones", *places]) == 0
    probing = ["--head", "linear", "--split", "folds", "--corpus", "tones", "--model", "mfcc"]
    assert cli.run(["probe", *probing, *corpus.arguments]) == 0
    before = written(corpus.home)
    study = ["mfcc", "tones", *corpus.arguments, "--heads", "linear", "--variants", "fp16,fp32"]
    script("storage").main(study)
    after = written(corpus.home)
    assert before.items() <= after.items()
    fp32 = [path for path in corpus.home.joinpath("r").iterdir() if path.name.startswith("tones-mfcc-linear")]
    assert len(fp32) == 1


def test_whisper_contexts_are_compared_and_nothing_is_repeated(corpus, script, capsys, tmp_path):
    context = script("whisper_context")
    model = save_whisper(tmp_path / "small-whisper")
    command = [str(model), "tones", *corpus.arguments, "--clips", "4", "--heads", "linear,nonlinear"]
    context.main(command)
    first = capsys.readouterr().out
    assert [row[0] for row in table(first, "Speed")] == ["audio", "full"]
    assert [row[0] for row in table(first, "Macro F1")] == ["tones linear", "tones nonlinear"]
    before = written(corpus.home)
    assert {path.parent.parent.name for path in before if path.suffix == ".h5"} >= {
        "small-whisper",
        "small-whisper+full",
    }
    context.main(command)
    assert written(corpus.home) == before
    assert table(capsys.readouterr().out, "Macro F1") == table(first, "Macro F1")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mfcc", "tones", "--variants", "fp16,zip"], "zip"),
        (["mfcc", "tones", "--variants", "int8"], "add it to --variants"),
        (["mfcc", "nowhere"], "ser manifest nowhere ROOT"),
    ],
)
def test_what_cannot_be_studied_gets_one_line(corpus, script, arguments, says):
    run = script("paired_folds").run
    with pytest.raises(SystemExit) as stopped:
        run(lambda: script("storage").main([*arguments, *corpus.arguments]))
    assert says in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_differences_are_taken_within_folds(script):
    paired = script("paired_folds").paired
    difference = paired([50.0, 61.0, 70.0], [49.0, 60.0, 72.0])
    assert (difference.mean, difference.better, difference.worse) == (0.0, 2, 1)
    assert difference.std == pytest.approx(3**0.5)
    assert str(difference) == "+0.0 ± 1.7 (2/3)"


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("extraction", ["{model}", "--clips", "3", "--repeats", "1", "--every", "1"], "| usual script |"),
        ("store", ["--layers", "2", "--frames", "300", "--width", "16", "--repeats", "1"], "| ser_cache | "),
        ("flips", ["--flips", "20"], "| all | "),
        ("interval_coverage", ["--trials", "4", "--speakers", "4", "--worlds", "acted"], "| 4 | "),
        ("interval_coverage", ["--trials", "4", "--speakers", "4", "--worlds", "talk", "--pairs"], "| 4 | "),
        ("interval_coverage", ["--trials", "4", "--speakers", "4", "--folds", "--methods", "all"], "BCa"),
    ],
)
def test_a_benchmark_runs_without_data(script, tmp_path, capsys, monkeypatch, name, arguments, says):
    model = save_whisper(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [name, *(word.format(model=model) for word in arguments)])
    script(name).main()
    assert says in capsys.readouterr().out


@pytest.mark.slow
def test_memory_is_watched_in_processes_of_their_own(script, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["memory", "--clips", "4", "--sizes", "1", "2"])
    script("memory").main()
    said = capsys.readouterr().out
    assert "| corpus x2 |" in said
    assert "ratio of the peaks" in said
