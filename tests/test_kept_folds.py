"""An interrupted probe: finished folds are taken up again as they would have been, and go away after."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_features import Features, utterances

from ser_cache import kept_folds
from ser_cache.heads import HeadOptions
from ser_cache.learning_rate_search import RateSearchOptions
from ser_cache.manifest import Manifest
from ser_cache.probing import ProbeOptions, Progress, probe
from ser_cache.protocols import Protocol
from ser_cache.splits import SplitOptions
from ser_cache.training import TrainingOptions

QUICK = Protocol(
    "quick", "", HeadOptions(hidden=16), TrainingOptions(epochs=3, learning_rate=1e-2, batch_size=8)
)
OPTIONS = ProbeOptions(
    ("nonlinear", "multilayer"), split=SplitOptions("loso"), seeds=(0, 1), protocol=QUICK, device="cpu"
)
VARIANTS = {
    "plain": OPTIONS,
    "standardised": replace(OPTIONS, protocol=replace(QUICK, standardise="global")),
    "searched": replace(OPTIONS, protocol=replace(QUICK, search=RateSearchOptions(1e-3, 1, max_rounds=2))),
    "pooled": replace(OPTIONS, heads=("linear",)),
}
CORPUS = Manifest("toy", utterances())


class Stopped(Exception):  # noqa: N818 - what Ctrl-C is to the trainer, not an error of its own
    pass


@pytest.fixture(autouse=True)
def keep_every_fold(monkeypatch):
    monkeypatch.setattr(kept_folds, "WORTH_KEEPING", 0.0)


def stop_in(name):
    """What stops a probe as soon as it trains the fold of this name."""

    def stop(progress: Progress) -> None:
        if progress.fold == name:
            raise Stopped

    return stop


def stop_at_first(seen):
    """What stops a probe as soon as it trains any fold."""

    def stop(progress: Progress) -> None:
        seen.append(progress.fold)
        raise Stopped

    return stop


def interrupted(runs, options=OPTIONS, fold="s3"):
    with pytest.raises(Stopped):
        probe(Features(CORPUS.utterances), CORPUS, options, runs, stop_in(fold))


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory):
    """What an interruption of OPTIONS in fold s3 leaves: copied by each test, for it takes half a second."""
    runs = tmp_path_factory.mktemp("left-behind")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_folds, "WORTH_KEEPING", 0.0)
        interrupted(runs)
    return runs


@pytest.fixture
def stopped(left_behind, tmp_path):
    """A folder of runs with the finished folds of an interrupted probe, and nothing else."""
    return Path(shutil.copytree(left_behind, tmp_path / "runs"))


def trained_folds(runs, options=OPTIONS):
    """Probe to the end; returns the summaries and the folds that were trained, in order."""
    seen: list[str] = []
    summaries = probe(
        Features(CORPUS.utterances), CORPUS, options, runs, lambda p: seen.append(p.fold.partition(",")[0])
    )
    return summaries, list(dict.fromkeys(seen))


def results_of(folder: Path):
    """Every file of a run but for times: what must be equal, bit for bit."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    log = files.pop("log.csv").decode().splitlines()
    del files["environment.json"], files["files.json"]
    place = log[0].split(",").index("seconds")
    without = [[cell for n, cell in enumerate(line.split(",")) if n != place] for line in log]
    return files, without


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_a_resumed_probe_trains_the_other_folds_only_and_equals_an_undisturbed_one(tmp_path, options):
    whole, all_folds = trained_folds(tmp_path / "whole", options)
    assert all_folds == ["s0", "s1", "s2", "s3", "s4"]
    interrupted(tmp_path / "resumed", options)
    resumed, folds = trained_folds(tmp_path / "resumed", options)
    assert folds == ["s3", "s4"]
    for one, other in zip(whole, resumed, strict=True):
        assert results_of(one.folder) == results_of(other.folder)


def test_a_finished_probe_leaves_no_folds_behind(stopped):
    assert list(stopped.glob(".*.folds"))
    summaries, _ = trained_folds(stopped)
    assert sorted(path.name for path in stopped.iterdir()) == sorted(s.folder.name for s in summaries)


def test_kept_folds_are_no_runs(stopped):
    from ser_cache.results import list_runs

    assert list_runs(stopped) == []


def test_a_head_added_after_the_interruption_trains_every_fold_and_the_others_what_they_lack(tmp_path):
    interrupted(tmp_path, replace(OPTIONS, heads=("nonlinear",)))
    alone, _ = trained_folds(tmp_path / "alone", replace(OPTIONS, heads=("nonlinear",)))
    both, folds = trained_folds(tmp_path)
    assert folds == ["s0", "s1", "s2", "s3", "s4"]
    assert results_of(alone[0].folder) == results_of(both[0].folder)


@pytest.mark.parametrize("change", [{"seeds": (0,)}, {"protocol": replace(QUICK, standardise="global")}])
def test_another_configuration_takes_no_kept_fold(stopped, change):
    assert trained_folds(stopped, replace(OPTIONS, **change))[1] == ["s0", "s1", "s2", "s3", "s4"]


def test_force_forgets_kept_folds(stopped):
    assert trained_folds(stopped, replace(OPTIONS, force=True))[1] == ["s0", "s1", "s2", "s3", "s4"]


def test_an_interrupted_repetition_goes_on_with_its_own_folds(tmp_path):
    forced = replace(OPTIONS, force=True)
    interrupted(tmp_path, forced)
    assert trained_folds(tmp_path, forced)[1] == ["s3", "s4"]
    assert trained_folds(tmp_path, forced)[1] == ["s0", "s1", "s2", "s3", "s4"]
    assert not list(tmp_path.glob(".*.folds"))


def test_folds_of_other_code_are_trained_again(stopped, monkeypatch):
    monkeypatch.setattr(kept_folds, "source_digest", lambda: "as it was before a change")
    assert trained_folds(stopped)[1] == ["s0", "s1", "s2", "s3", "s4"]


def test_a_disk_that_keeps_no_fold_stops_no_training(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_folds, "replacing", full)
    summaries, folds = trained_folds(tmp_path)
    assert folds == ["s0", "s1", "s2", "s3", "s4"]
    assert all(summary.folder.is_dir() for summary in summaries)


def test_quick_folds_are_kept_when_enough_has_gathered(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_folds, "WORTH_KEEPING", 2.5)
    clock = iter(range(1000))
    monkeypatch.setattr("ser_cache.fold_training.perf_counter", lambda: float(next(clock)))  # a second a fold
    interrupted(tmp_path, fold="s4")
    assert all(len(list(folder.iterdir())) == 3 for folder in tmp_path.glob(".*.folds"))
    assert trained_folds(tmp_path)[1] == ["s3", "s4"]


def test_what_a_kill_left_beside_a_written_run_goes_away(tmp_path):
    summaries, _ = trained_folds(tmp_path)
    left = tmp_path / f".{summaries[0].folder.name}.folds"
    left.mkdir()
    trained_folds(tmp_path)
    assert not left.exists()


def test_folds_of_other_versions_or_threads_are_trained_again(stopped, monkeypatch):
    monkeypatch.setattr("ser_cache.environment.__version__", "0.0.0")
    assert trained_folds(stopped)[1] == ["s0", "s1", "s2", "s3", "s4"]


def test_folds_of_changed_labels_are_trained_again(stopped):
    first, *rest = CORPUS.utterances
    relabelled = Manifest("toy", (replace(first, emotion="fear"), *rest))
    seen: list[str] = []
    probe(Features(CORPUS.utterances), relabelled, OPTIONS, stopped, lambda p: seen.append(p.fold))
    assert list(dict.fromkeys(seen)) == ["s0", "s1", "s2", "s3", "s4"]


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_damaged_fold_is_trained_again(stopped, length):
    for folder in stopped.glob(".*.folds"):
        path = sorted(folder.iterdir())[1]
        path.write_bytes(path.read_bytes()[:length])
    assert trained_folds(stopped)[1] == ["s1", "s3", "s4"]


def test_any_changed_byte_of_a_fold_is_noticed(stopped):
    paths = [sorted(folder.iterdir())[1] for folder in stopped.glob(".*.folds")]
    for place in range(0, paths[0].stat().st_size, 4999):
        whole = [path.read_bytes() for path in paths]
        for path, content in zip(paths, whole, strict=True):
            changed = bytearray(content)
            changed[place % len(content)] ^= 1
            path.write_bytes(changed)
        seen: list[str] = []
        with pytest.raises(Stopped):
            probe(Features(CORPUS.utterances), CORPUS, OPTIONS, stopped, stop_at_first(seen))
        assert seen == ["s1"], place
        for path, content in zip(paths, whole, strict=True):
            path.write_bytes(content)


def test_folds_that_are_quicker_to_train_than_to_keep_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_folds, "WORTH_KEEPING", 3600.0)
    interrupted(tmp_path)
    assert not list(tmp_path.glob(".*.folds"))


def test_what_is_kept_no_longer_counts_as_work(stopped):
    told: list[Progress] = []
    probe(Features(CORPUS.utterances), CORPUS, OPTIONS, stopped, told.append)
    assert {progress.total for progress in told} == {2 * QUICK.training.epochs}
    assert told[-1].done == told[-1].total


def test_folds_of_speakers_whose_names_no_file_can_have_are_kept_too(tmp_path):
    rows = tuple(
        replace(u, id=u.id.replace("s", "s/"), speaker=u.speaker.replace("s", "../s/")) for u in utterances()
    )
    corpus = Manifest("toy", rows)
    with pytest.raises(Stopped):
        probe(Features(rows), corpus, OPTIONS, tmp_path, stop_in("../s/3"))
    kept = [path for folder in tmp_path.glob(".*.folds") for path in folder.iterdir()]
    assert len(kept) == 2 * 3
    seen: list[str] = []
    probe(Features(rows), corpus, OPTIONS, tmp_path, lambda p: seen.append(p.fold))
    assert list(dict.fromkeys(seen)) == ["../s/3", "../s/4"]


KILLER = """
import os, signal, sys, traceback
from pathlib import Path
from test_kept_folds import CORPUS, OPTIONS
from made_up_features import Features
from ser_cache import kept_folds
from ser_cache.probing import probe

kept_folds.WORTH_KEEPING = 0.0

def killed_after(epochs):
    left = [epochs]
    def die(progress):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    try:
        probe(Features(CORPUS.utterances), CORPUS, OPTIONS, Path(sys.argv[1]), die)
    except BaseException:
        traceback.print_exc()
    os._exit(1)

for epochs in map(int, sys.argv[2:]):  # children of one process, which imports torch once
    child = os.fork() or killed_after(epochs)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_probe_killed_at_any_moment_is_resumed_to_the_same_result(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", KILLER, str(tmp_path / "killed"), "4", "5", "2"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * 3, done.stderr
    killed, folds = trained_folds(tmp_path / "killed")
    assert folds == ["s2", "s3", "s4"]
    whole, _ = trained_folds(tmp_path / "whole")
    for one, other in zip(whole, killed, strict=True):
        assert results_of(one.folder) == results_of(other.folder)
        assert json.loads((other.folder / "environment.json").read_text())["seconds"] > 0
