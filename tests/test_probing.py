"""Probing end to end on features made here: right folds, right models, runs reused, and plain refusals."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_features import EMOTIONS, Digest, Features, utterances

from ser_cache import probing
from ser_cache.errors import SplitError, TrainingError, UnknownNameError
from ser_cache.heads import HEADS, HeadOptions
from ser_cache.learning_rate_search import RateSearchOptions
from ser_cache.manifest import Manifest
from ser_cache.packing import PackedFeatures
from ser_cache.probing import ProbeOptions, Progress, probe
from ser_cache.protocols import PROTOCOLS, Protocol, protocol_named
from ser_cache.results import list_runs, read_predictions, read_run, stale_runs
from ser_cache.splits import SplitOptions, make_splits
from ser_cache.stacks import Model
from ser_cache.training import Sides, TrainingOptions, fit

QUICK = Protocol(
    "quick", "", HeadOptions(hidden=16), TrainingOptions(epochs=6, learning_rate=1e-2, batch_size=8)
)
LOSO = ProbeOptions(split=SplitOptions("loso"), seeds=(0, 1), protocol=QUICK, device="cpu")


def test_all_heads_are_trained_over_all_folds_and_seeds(tmp_path):
    rows = utterances()
    told: list[Progress] = []
    summaries = probe(Features(rows, noise=0.5), Manifest("toy", rows), LOSO, tmp_path, told.append)
    assert [summary.head for summary in summaries] == ["linear", "nonlinear", "multilayer"]
    for summary in summaries:
        assert (summary.corpus, summary.backbone) == ("toy", "whisper-small")
        assert (summary.folds, summary.seeds, summary.utterances) == (5, 2, 45)
        assert summary.macro_f1.mean > 0.8
        assert summary.macro_f1.count == 2
        assert summary.intervals["ua"].speakers == 5
        assert not summary.reused
        assert summary.warnings == ()
        run = read_run(summary.folder)
        assert run.config.split == {"kind": "loso"}
        assert len(list(read_predictions(run))) == 2 * 45
        assert all(row["id"].startswith(row["fold"]) for row in read_predictions(run))
    assert {step.total for step in told} == {5 * 6}
    # The linear head takes next to no time; the other two train in one pass.
    assert [step.done for step in told] == [0] * 5 * 6 + list(range(1, 5 * 6 + 1))
    assert (told[0].heads, told[0].fold) == ("linear", "s0")
    assert (told[-1].heads, told[-1].fold) == ("nonlinear, multilayer", "s4")


def test_a_run_is_what_training_by_hand_gives(tmp_path):
    rows = utterances()
    features = Features(rows)
    options = replace(LOSO, heads=("multilayer",), seeds=(3,))
    (summary,) = probe(features, Manifest("toy", rows), options, tmp_path)
    packed = np.concatenate([features.hidden(i, (1, 2)) for i in range(len(rows))], axis=1)
    labels = np.array([EMOTIONS.index(u.emotion) for u in rows])
    place = {u.id: n for n, u in enumerate(rows)}
    stored = list(read_predictions(read_run(summary.folder)))
    for split in make_splits(rows, options.split):
        sides = Sides(*(np.array([place[i] for i in split.side(s)]) for s in ("train", "validation", "test")))
        model = Model("m", HEADS["multilayer"], QUICK.head, 3, (0, 1))
        source = PackedFeatures(torch.from_numpy(packed), features.frames)
        key = f'{{"kind":"loso"}}:{split.fold}'
        result = fit(source, labels, sides, [model], QUICK.training, key)["m"]
        mine = [row for row in stored if row["fold"] == split.fold]
        assert [row["id"] for row in mine] == list(split.test)
        scores = [[float(row[f"score:{e}"]) for e in EMOTIONS] for row in mine]
        np.testing.assert_allclose(scores, result.test_scores, rtol=1e-5)


def test_a_second_probe_reuses_the_runs_and_force_repeats_them(tmp_path):
    rows = utterances()
    features, manifest = Features(rows), Manifest("toy", rows)
    first = probe(features, manifest, LOSO, tmp_path)
    told: list[Progress] = []
    second = probe(features, manifest, LOSO, tmp_path, told.append)
    assert told == []
    assert second == [replace(summary, reused=True) for summary in first]
    forced = probe(features, manifest, replace(LOSO, force=True, heads=("linear",)), tmp_path)
    assert forced == first[:1]


def test_other_features_or_labels_make_a_new_run_and_say_so(tmp_path):
    rows = utterances()
    features = Features(rows)
    options = replace(LOSO, heads=("linear",))
    (first,) = probe(features, Manifest("toy", rows), options, tmp_path)
    features.fingerprint = Digest("b" * 64)
    (second,) = probe(features, Manifest("toy", rows), options, tmp_path)
    assert not second.reused
    assert second.warnings == (
        f"the earlier run {first.folder.name} used another fingerprint; this is a new run",
    )
    assert second.folder != first.folder
    relabelled = (replace(rows[0], emotion="fear"), *rows[1:])
    (third,) = probe(features, Manifest("toy", relabelled), options, tmp_path)
    assert not third.reused
    assert "used another" in third.warnings[0]
    assert "manifest" in third.warnings[0]


def test_failed_utterances_are_left_out_and_said(tmp_path):
    rows = utterances()
    failed = {rows[0].id: "it is empty", rows[7].id: "too short"}
    options = replace(LOSO, heads=("linear",))
    (summary,) = probe(Features(rows, failed=failed), Manifest("toy", rows), options, tmp_path)
    assert summary.utterances == 43
    (warning,) = summary.warnings
    assert warning == (
        "whisper-small: 2 of 45 utterances are left out because extraction failed, "
        "for instance s0-anger-0: it is empty"
    )


@pytest.mark.parametrize("kind", ["speaker", "loso", "folds", "random"])
def test_a_clip_that_failed_moves_no_other_to_another_side(tmp_path, kind):
    rows = utterances(speakers=6)
    failed = {row.id: "it is empty" for row in rows[:4]}
    options = replace(LOSO, heads=("linear",), seeds=(0,), split=SplitOptions(kind))
    told = {}
    for name, features in (("whole", Features(rows)), ("less", Features(rows, failed=failed))):
        (summary,) = probe(features, Manifest("toy", rows), options, tmp_path / name)
        told[name] = json.loads((summary.folder / "splits.json").read_text())
    assert _without(told["whole"], failed) == told["less"]


def _without(value, ids):
    """JSON without some strings in its lists."""
    if isinstance(value, list):
        return [_without(item, ids) for item in value if not (isinstance(item, str) and item in ids)]
    return {k: _without(v, ids) for k, v in value.items()} if isinstance(value, dict) else value


def test_a_single_layer_serves_every_head(tmp_path):
    rows = utterances()
    features = Features(rows, layers=(1,))
    features.backbone = "mfcc"
    summaries = probe(features, Manifest("toy", rows), replace(LOSO, seeds=(0,)), tmp_path)
    weights = json.loads((summaries[2].folder / "layer_weights.json").read_text())
    assert weights["layers"] == [1]
    assert weights["mean"] == [1.0]


def test_the_default_split_is_one_speaker_disjoint_fold(tmp_path):
    rows = utterances(3)
    options = ProbeOptions(heads=("linear",), protocol=QUICK, device="cpu")
    (summary,) = probe(Features(rows), Manifest("toy", rows), options, tmp_path)
    assert (summary.folds, summary.seeds, summary.utterances) == (1, 1, 9)
    assert summary.macro_f1.std is None
    assert summary.no_interval == "no confidence interval: only 1 test speaker, at least 3 are needed"
    (line,) = summary.warnings
    assert line == (
        "asked for 80/10/10, got 33/33/33 (train/validation/test), the nearest found for 27 utterances of 3 "
        "speakers (1/1/1); to test every speaker: --split loso"
    )


def test_a_random_split_warns_that_it_is_speaker_dependent(tmp_path):
    rows = utterances()
    options = ProbeOptions(heads=("linear",), split=SplitOptions("random"), protocol=QUICK, device="cpu")
    (summary,) = probe(Features(rows), Manifest("toy", rows), options, tmp_path)
    assert summary.warnings[0].startswith("speaker-dependent")


def test_labels_drawn_at_random_give_chance(tmp_path):
    """Leakage of any kind would lift this above a third."""
    rng = np.random.default_rng(1)
    rows = tuple(replace(u, emotion=EMOTIONS[rng.integers(3)]) for u in utterances(8, each=4))
    features = Features(utterances(8, each=4))
    summaries = probe(
        features, Manifest("toy", rows), replace(LOSO, heads=("linear", "nonlinear"), seeds=(0,)), tmp_path
    )
    for summary in summaries:
        assert summary.intervals["ua"].low < 1 / 3 + 0.05
        assert abs(summary.ua.mean - 1 / 3) < 0.15


@pytest.mark.parametrize(
    ("rows", "options", "error", "says"),
    [
        (utterances(1), LOSO, SplitError, "at least 3 speakers, and there are 1 (s0)"),
        (utterances(2), ProbeOptions(), SplitError, "at least 3 speakers, and there are 2 (s0, s1)"),
        (utterances(4, emotions=("fear",)), LOSO, TrainingError, "toy has the one emotion fear"),
        (utterances(4), replace(LOSO, heads=("mlp",)), UnknownNameError, "unknown head 'mlp'"),
        (utterances(4), replace(LOSO, split=SplitOptions("l")), UnknownNameError, "unknown split 'l'"),
        (utterances(4), replace(LOSO, seeds=()), TrainingError, "no seed"),
        (utterances(4), replace(LOSO, device="tpu"), UnknownNameError, "unknown device"),
        ((), LOSO, SplitError, "no utterances"),
    ],
)
def test_what_cannot_be_probed_gets_one_line(tmp_path, rows, options, error, says):
    with pytest.raises(error) as caught:
        probe(Features(rows), Manifest("toy", rows), options, tmp_path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_features_that_are_not_finite_name_head_fold_and_epoch(tmp_path):
    rows = utterances()
    features = Features(rows)
    features.states[20][-1, 0, 0] = np.inf
    with pytest.raises(
        TrainingError, match=r"^nonlinear head on layer 2, fold s0, seed 0: the loss is not finite in epoch 1"
    ):
        probe(features, Manifest("toy", rows), replace(LOSO, heads=("nonlinear",)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_layer_gets_a_run_of_its_own_in_one_pass(tmp_path):
    rows = utterances()
    features, manifest = Features(rows, noise=0.5), Manifest("toy", rows)
    options = replace(LOSO, heads=("linear", "superb"), layers=(0, 1, 2))
    told: list[Progress] = []
    summaries = probe(features, manifest, options, tmp_path, told.append)
    assert [read_run(summary.folder).config.layers for summary in summaries] == [(0,), (1,), (2,), (0, 1, 2)]
    assert {step.total for step in told} == {5 * 6}
    assert summaries[0].macro_f1.mean < 0.6 < summaries[1].macro_f1.mean
    alone = replace(options, heads=("linear",), layers=(1,), force=True)
    (again,) = probe(features, manifest, alone, tmp_path / "alone")
    assert again.macro_f1 == summaries[1].macro_f1
    assert again.folder.name == summaries[1].folder.name
    weights = [
        path.read_bytes()
        for folder in (summaries[1].folder, again.folder)
        for path in [folder / "weights.safetensors"]
    ]
    assert weights[0] == weights[1]
    with pytest.raises(TrainingError, match=r"toy has no layer 7; cached are 0, 1, 2\."):
        probe(features, manifest, replace(options, layers=(7,)), tmp_path)


def test_heads_trained_in_one_pass_equal_heads_trained_alone(tmp_path):
    rows = utterances()
    features, manifest = Features(rows), Manifest("toy", rows)
    every = replace(LOSO, heads=tuple(HEADS))
    together = probe(features, manifest, every, tmp_path / "together")
    for summary in together:
        (alone,) = probe(features, manifest, replace(every, heads=(summary.head,)), tmp_path / "alone")
        for name in ("weights.safetensors", "predictions.csv"):
            assert (alone.folder / name).read_bytes() == (summary.folder / name).read_bytes()


@pytest.mark.parametrize("how", ["global", "speaker"])
def test_standardised_features_undo_what_a_scale_did(tmp_path, how):
    """One channel a thousand times as large drowns the others, unless features are standardised."""
    rows = utterances()
    features = Features(rows, noise=0.5)
    for states in features.states:
        states.flags.writeable = True
        np.multiply(states, np.float16(0.1), out=states)
        states[:, :, 0] = 50
        states[:, ::2, 0] += 30
    protocol = replace(QUICK, standardise=how)
    plain, standardised = (
        probe(features, Manifest("toy", rows), replace(LOSO, heads=("linear",), protocol=p), tmp_path)[0]
        for p in (QUICK, protocol)
    )
    assert standardised.macro_f1.mean > plain.macro_f1.mean + 0.1
    assert (standardised.folder / "standardisation.safetensors").exists() == (how == "global")


def test_standardisation_never_sees_those_who_are_tested(tmp_path):
    rows = utterances()
    options = replace(LOSO, heads=("linear", "nonlinear"), protocol=replace(QUICK, standardise="global"))
    options = replace(options, split=SplitOptions("speaker"))
    features = Features(rows)
    first = probe(features, Manifest("toy", rows), options, tmp_path / "first")
    (split,) = json.loads((first[0].folder / "splits.json").read_text())["folds"]
    for identifier in split["test"]:
        features.states[features.ids.index(identifier)].flags.writeable = True
        features.states[features.ids.index(identifier)] *= np.float16(3)
    second = probe(features, Manifest("toy", rows), options, tmp_path / "second")
    for one, other in zip(first, second, strict=True):
        name = "weights.safetensors"
        assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


def test_a_searched_rate_is_used_by_all_seeds_and_written_down(tmp_path):
    rows = utterances()
    search = RateSearchOptions(start=1e-3, epochs=1, max_rounds=3)
    protocol = replace(QUICK, search=search)
    options = replace(LOSO, heads=("linear", "nonlinear"), protocol=protocol, split=SplitOptions("speaker"))
    for summary in probe(Features(rows), Manifest("toy", rows), options, tmp_path):
        found = json.loads((summary.folder / "learning_rate_search.json").read_text())
        (result,) = found.values()
        assert result["rounds"][0]["rates"] == [1e-4, 1e-3, 1e-2]
        log = (summary.folder / "log.csv").read_text().splitlines()
        place = log[0].split(",").index("learning_rate")
        assert [float(line.split(",")[place]) for line in log[1:]] == pytest.approx([result["rate"]] * 12)
    again = probe(Features(rows), Manifest("toy", rows), options, tmp_path)
    assert all(summary.reused for summary in again)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_trains_its_own_heads_and_is_stored(tmp_path, name):
    rows = utterances()
    whole = protocol_named(name)
    shorter = replace(whole.training, epochs=2, steps=None if whole.training.steps is None else 6)
    search = None if whole.search is None else replace(whole.search, epochs=1, max_rounds=2)
    protocol = replace(whole, training=shorter, search=search, head=replace(whole.head, hidden=8))
    options = replace(LOSO, protocol=protocol, seeds=(0,))
    summaries = probe(Features(rows), Manifest("toy", rows), options, tmp_path)
    assert tuple(summary.head for summary in summaries) == whole.heads
    for summary in summaries:
        assert read_run(summary.folder).config.protocol == protocol.config()


def test_a_rate_that_diverges_in_a_search_is_written_down_as_none(tmp_path, monkeypatch):
    def fit_and_spoil(*arguments, **named):
        results = fit(*arguments, **named)
        if named.get("trial"):
            worst = max(results, key=float)
            results[worst] = replace(results[worst], best_score=float("nan"))
        return results

    monkeypatch.setattr("ser_cache.fold_training.fit", fit_and_spoil)
    rows = utterances()
    protocol = replace(QUICK, search=RateSearchOptions(1e-3, 1, max_rounds=1))
    options = replace(LOSO, heads=("linear",), protocol=protocol, split=SplitOptions("speaker"))
    (summary,) = probe(Features(rows), Manifest("toy", rows), options, tmp_path)
    (found,) = json.loads((summary.folder / "learning_rate_search.json").read_text()).values()
    assert found["rounds"][0]["scores"][2] is None


def test_a_corpus_of_nothing_but_failures_says_so(tmp_path):
    rows = utterances()
    features = Features(rows, failed={row.id: "it is empty" for row in rows})
    with pytest.raises(
        TrainingError, match=r"no usable utterance: extraction failed for all \(it is empty\)"
    ):
        probe(features, Manifest("toy", rows), LOSO, tmp_path)


def test_probing_loads_no_backbone_and_no_decoder():
    code = (
        "import sys, ser_cache.probing\n"
        "absent = {'transformers', 'h5py', 'soundfile', 'soxr', 'librosa', 'sklearn', 'scipy', 'matplotlib',"
        " 'ser_cache.audio', 'ser_cache.backbones', 'ser_cache.extraction', 'ser_cache.mfcc'}\n"
        "print(sorted(absent & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
    assert probing.__doc__


def test_while_a_batch_is_trained_on_the_next_is_fetched(tmp_path):
    rows = utterances()
    features = Features(rows)
    probe(features, Manifest("toy", rows), replace(LOSO, heads=("nonlinear",), seeds=(0,)), tmp_path)
    (first, *_), splits = features.announced, make_splits(rows, LOSO.split)
    trained = {rows.index(u) for u in rows if u.id in splits[0].train}
    assert len(first) == QUICK.training.batch_size
    assert set(first) <= trained
    epochs, folds = QUICK.training.epochs, len(splits)
    batches = QUICK.training.batches(len(splits[0].train))
    assert len(features.announced) >= epochs * folds * (batches - 1)


@pytest.mark.parametrize(
    ("failed", "kind", "expected"),
    [
        (lambda u: u.speaker == "s4", "loso", "fold 's3': no utterance is left for the validation side"),
        (lambda u: u.emotion == "fear" and u.speaker != "s4", "loso", "no training utterance of fear"),
    ],
)
def test_a_fold_emptied_by_failures_is_refused_before_any_is_trained(tmp_path, failed, kind, expected):
    rows = utterances()
    features = Features(rows, failed={u.id: "no audio" for u in rows if failed(u)})
    told: list[Progress] = []
    with pytest.raises(TrainingError, match=expected) as caught:
        probe(features, Manifest("toy", rows), replace(LOSO, split=SplitOptions(kind)), tmp_path, told.append)
    assert "mend the audio" in str(caught.value)
    assert not told


def test_an_emotion_lost_to_failures_is_named(tmp_path):
    rows = utterances()
    features = Features(rows, failed={u.id: "no audio" for u in rows if u.emotion == "fear"})
    (summary,) = probe(features, Manifest("toy", rows), replace(LOSO, heads=("linear",)), tmp_path)
    assert any("no utterance of fear is left" in line for line in summary.warnings)


def test_an_emotion_that_failures_took_from_a_test_side_is_named_with_its_fold(tmp_path):
    rows = utterances()
    failed = {u.id: "no audio" for u in rows if u.emotion == "fear" and u.speaker == "s2"}
    (summary,) = probe(
        Features(rows, failed=failed), Manifest("toy", rows), replace(LOSO, heads=("linear",)), tmp_path
    )
    assert any("no fear on the test side of 1 of 5 folds (s2)" in line for line in summary.warnings)


def test_time_means_too_large_for_memory_are_streamed_to_the_same_result(tmp_path, monkeypatch):
    rows = utterances()
    options = replace(LOSO, heads=("linear",), layers=(0, 2))
    held = probe(Features(rows), Manifest("toy", rows), options, tmp_path / "held")
    monkeypatch.setattr("ser_cache.feature_sources._SHARE_OF_MEMORY", 0.0)
    streamed = probe(Features(rows), Manifest("toy", rows), options, tmp_path / "streamed")
    for one, other in zip(held, streamed, strict=True):
        assert one.folder.name == other.folder.name
        for name in ("predictions.csv", "weights.safetensors"):
            assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


def test_a_run_whose_data_came_back_is_no_longer_stale(tmp_path):
    rows = utterances()
    features, options = Features(rows), replace(LOSO, heads=("linear",))
    relabelled = (replace(rows[0], emotion="fear"), *rows[1:])

    def probed(utterances_):
        (summary,) = probe(features, Manifest("toy", utterances_), options, tmp_path)
        stale = stale_runs([read_run(folder) for folder in list_runs(tmp_path)])
        return summary.folder, {folder.name for folder in stale}

    first, _ = probed(rows)
    other, stale = probed(relabelled)
    # Both may have been written within a second; then their names decide.
    assert stale <= {first.name, other.name}
    again, stale = probed(rows)
    assert (again, stale) == (first, {other.name})
    assert probed(rows) == (first, {other.name})
    assert probed(relabelled) == (other, {first.name})
