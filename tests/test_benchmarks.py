import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from naive_heads import NAIVE
from small_corpora import PATTERN, write_tone_corpus
from small_models import save_whisper

from ser_cache import cli
from ser_cache.heads import HeadOptions
from ser_cache.training import Sides, TrainingOptions


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
        ("clustering", ["--utterances", "60", "--shapes", "1x4"], "| 1x4 | "),
        pytest.param(
            "baselines",
            ["--utterances", "120", "--subset", "60", "--classifiers", "knn", "--jobs", "1"],
            "### Beside GridSearchCV, 60 utterances",
            marks=pytest.mark.slow,  # four processes, each of which imports scikit-learn
        ),
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


def test_the_linear_head_from_a_cache_differs_by_rounding_alone_from_that_of_frames(corpus, script, capsys):
    model = save_whisper(corpus.home / "random")
    places = corpus.arguments[:4]
    for codec in ("fp32", "int8"):
        assert cli.run(["extract", "--model", str(model), "--codec", codec, *places]) == 0
    folders = [str(corpus.home / "c" / f"random+{codec}" / "tones") for codec in ("fp32", "int8")]
    capsys.readouterr()
    script("pooled_linear").main([str(corpus.home / "m" / "tones.csv"), *folders])
    exact, rough = (line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[-2:])
    assert [exact[0], rough[0]] == ["random+fp32", "random+int8"]
    # The time means are kept in float32: that is the bound, not the 1e-9 of the heads themselves in float64.
    assert 0 < float(exact[2]) < 1e-5 * max(1.0, float(exact[1]))
    assert exact[4] == "0.00 %"
    assert float(exact[2]) < float(rough[2]) < 0.5


def test_one_pass_is_measured_against_everything_else(corpus, script, capsys, tmp_path):
    probing = script("probing")
    model = save_whisper(tmp_path / "small-whisper")
    places = ["--manifests", str(corpus.home / "m"), "--cache", str(tmp_path / "cache")]
    assert cli.run(["extract", "--model", str(model), "--corpus", "tones", *places]) == 0
    capsys.readouterr()
    little = ["--rounds", "2", "--seeds", "2", "--epochs", "3", "--usual-epochs", "2", "--single-seeds", "1"]
    little += ["--loop-steps", "1", "--workers", "0", "--json", str(tmp_path / "times.json")]
    probing.main([str(model), "tones", *places, *little])
    said = capsys.readouterr().out
    assert [row[0] for row in table(said, "One pass")] == [
        "one pass",
        "6 single runs",
        "6 runs of the usual script",
        "one multilayer run",
    ]
    assert [row[0] for row in table(said, "Re-probing")] == ["linear", "nonlinear", "multilayer"]
    assert "1 of 2 seeds of the single runs" in said
    times = json.loads((tmp_path / "times.json").read_text())
    assert {len(rounds) for rounds in times.values()} == {2}
    assert times["single runs"] == pytest.approx(
        [2 * sum(times[f"probe {head}"][r] for head in probing.HEADS) for r in range(2)]
    )


def test_times_are_extrapolated_by_the_epochs_after_the_first(script):
    run = script("usual_training").UsualRun
    # 1 for the setup, 9 + 4 + 6 for three epochs, 7 more at (4 + 6) / 2 each, 2 for the test.
    assert run(1.0, (9.0, 4.0, 6.0), 2.0, 0.5).seconds_for(10) == 1 + 19 + 7 * 5 + 2
    assert run(1.0, (9.0,), 2.0, 0.5).seconds_for(3) == 1 + 9 + 2 * 9 + 2
    assert run(1.0, (9.0, 4.0), 2.0, 0.5).seconds_for(2) == 1 + 13 + 2


@pytest.mark.parametrize("name", ["linear", "nonlinear", "multilayer"])
def test_the_usual_script_trains_the_same_head(script, name):
    usual = script("usual_training")
    rng = np.random.default_rng(0)
    states = [rng.normal(size=(3, int(n), 7)) for n in rng.integers(1, 9, 5)]
    head = usual.UsualHead(name, 3, 7, 4, HeadOptions(hidden=6)).eval()
    linears = [part for part in head.modules() if isinstance(part, torch.nn.Linear)]
    names = (
        ("project", "classify") if name == "linear" else ("first", "second", "third", "pooled", "classify")
    )
    parameters = {"mix": np.array([0.5, -1.0, 0.2])}
    for key, linear in zip(names, linears, strict=True):
        parameters |= {f"{key}.{part}": value.numpy() for part, value in linear.state_dict().items()}
    if head.mix is not None:
        head.mix.data = torch.tensor([0.5, -1.0, 0.2])
    padded, lengths, _ = usual.pad([(torch.from_numpy(one).float(), 0) for one in states])
    expected = [NAIVE[name](parameters, one)[0] for one in states]
    np.testing.assert_allclose(head(padded, lengths).detach(), expected, rtol=0, atol=1e-5)


def test_the_usual_script_learns_from_files(script, tmp_path):
    usual = script("usual_training")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    files = [tmp_path / f"{place}.npy" for place in range(60)]
    for file, label in zip(files, labels, strict=True):
        np.save(file, (rng.normal(size=(2, 4, 8)) + 3 * np.eye(3, 8)[label]).astype(np.float32))
    sides = Sides(*np.split(np.arange(60), [36, 48]))
    case = usual.UsualCase(files, labels, sides, 3, torch.device("cpu"))
    options = TrainingOptions(epochs=12, learning_rate=1e-2, batch_size=8)
    run = usual.train_usually(case, "multilayer", HeadOptions(hidden=16), options, seed=0, workers=0)
    assert len(run.epochs) == 12
    assert run.macro_f1 > 0.9


@pytest.mark.slow
def test_memory_is_watched_in_processes_of_their_own(script, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["memory", "--clips", "4", "--sizes", "1", "2"])
    script("memory").main()
    said = capsys.readouterr().out
    assert "| corpus x2 |" in said
    assert "ratio of the peaks" in said


@pytest.mark.slow
def test_memory_of_probing_is_watched_in_processes_of_their_own(script, monkeypatch, capsys):
    words = ["--sizes", "80", "160", "--layers", "2", "--width", "8"]
    monkeypatch.setattr("sys.argv", ["probing_memory", *words])
    script("probing_memory").main()
    said = capsys.readouterr().out
    assert "| frames | 160 |" in said
    assert "| time means | 160 |" in said


def test_manifests_measures_every_step(script, capsys):
    script("manifests").main(["--rows", "300", "--speakers", "12"])
    out = capsys.readouterr().out
    steps = [line.split(" | ")[0].strip("| ") for line in out.splitlines() if line.startswith("| ")]
    assert steps == [
        "step",
        "csv.reader",
        "load",
        "validate",
        *(f"split {kind}" for kind in script("manifests").SPLITS),
    ]
    assert "loading (which validates) and the slowest split" in out


def test_division_shows_what_is_drawn_and_what_is_found(corpus, script, capsys):
    script("division").main([str(corpus.home / "m" / "tones.csv")])
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.startswith("| tones | 6 | ")
    assert row.endswith(" | 67/17/17 (4/1/1 speakers) |")
