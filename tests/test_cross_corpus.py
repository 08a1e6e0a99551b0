"""Training on some corpora, testing on others: right sides, right models, nothing of those tested seen."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_features import EMOTIONS, Features, utterances
from test_probing import QUICK as LONGER

from ser_cache.cross_corpus import cross, cross_split, cross_split_config, validation_share
from ser_cache.emotions import EmotionChoice
from ser_cache.errors import ManifestError, SettingsError, SplitError, TrainingError, UnknownNameError
from ser_cache.files import canonical_json
from ser_cache.heads import HEADS
from ser_cache.joined_features import JoinedFeatures
from ser_cache.manifest import Manifest
from ser_cache.packing import PackedFeatures
from ser_cache.probing import ProbeOptions, Progress, probe, probe_across
from ser_cache.results import read_predictions, read_run, read_training_sides
from ser_cache.splits import SplitOptions, check_split
from ser_cache.stacks import Model
from ser_cache.training import Sides, fit

EPOCHS = 2
QUICK = replace(LONGER, training=replace(LONGER.training, epochs=EPOCHS))
OPTIONS = ProbeOptions(heads=("linear", "multilayer"), seeds=(0, 1), protocol=QUICK, device="cpu")


def corpus(
    name: str, speakers: int = 4, emotions=EMOTIONS, seed: int = 0, **how
) -> tuple[Manifest, Features]:
    """A corpus and its features, unlike those of another seed."""
    rows = utterances(speakers, emotions=emotions)
    features = Features(rows, **how)
    rng = np.random.default_rng(seed)
    features.states = [
        (states + rng.normal(size=states.shape[2])).astype(np.float16) for states in features.states
    ]
    features.corpus = name
    return Manifest(name, rows), features


def across(runs, train, test, options=OPTIONS, choice=None, told=lambda _: None):
    """Probe corpora, given as (manifest, features) pairs."""
    of = {manifest.corpus: features for manifest, features in (*train, *test)}
    crossing = cross([manifest for manifest, _ in train], [manifest for manifest, _ in test], choice)
    members = [_restricted(of[manifest.corpus], manifest) for manifest in crossing.corpora]
    return probe_across(JoinedFeatures(members), crossing, options, runs, told)


def _restricted(features, manifest):
    """Features of a manifest's utterances alone, as the cache would open them."""
    wanted = {utterance.id for utterance in manifest.utterances}
    if set(features.ids) | set(features.failed) == wanted:
        return features
    kept = Features(manifest.utterances)
    kept.corpus = features.corpus
    kept.failed = {id_: why for id_, why in features.failed.items() if id_ in wanted}
    places = [place for place, id_ in enumerate(features.ids) if id_ in wanted]
    kept.ids = tuple(features.ids[place] for place in places)
    kept.states = [features.states[place] for place in places]
    kept.frames = features.frames[places]
    return kept


A, B, C = corpus("a", 5, seed=1), corpus("b", 3, seed=2), corpus("c", 4, seed=3)


def test_a_run_is_what_training_by_hand_on_the_features_in_a_row_gives(tmp_path):
    summaries = across(tmp_path, [A, B], [C], replace(OPTIONS, heads=("multilayer",), seeds=(3,)))
    (run,) = (read_run(summary.folder) for summary in summaries)
    rows = [(name, u) for name, (m, _) in (("a", A), ("b", B), ("c", C)) for u in m.utterances]
    place = {f"{name}/{u.id}": number for number, (name, u) in enumerate(rows)}
    packed = np.concatenate([f.hidden(i, (1, 2)) for _, f in (A, B, C) for i in range(len(f.ids))], axis=1)
    frames = np.concatenate([f.frames for _, f in (A, B, C)])
    labels = np.array([EMOTIONS.index(u.emotion) for _, u in rows])
    (split,) = json.loads((run.folder / "splits.json").read_text())["folds"]
    sides = Sides(
        np.array([place[id_] for id_ in split["train"]]),
        np.array([place[id_] for id_ in split["validation"]]),
        np.array([place[f"c/{id_}"] for id_ in split["test"]]),
    )
    model = Model("m", HEADS["multilayer"], QUICK.head, 3, (0, 1))
    source = PackedFeatures(torch.from_numpy(packed), frames)
    key = '{"kind":"cross-corpus","seed":0,"share":0.111111,"validation":"speaker"}:0'
    result = fit(source, labels, sides, [model], QUICK.training, key)["m"]
    stored = list(read_predictions(run))
    assert [row["id"] for row in stored] == [u.id for u in C[0].utterances]
    assert [row["speaker"] for row in stored] == [u.speaker for u in C[0].utterances]
    scores = [[float(row[f"score:{e}"]) for e in EMOTIONS] for row in stored]
    np.testing.assert_allclose(scores, result.test_scores, rtol=1e-5)


def test_the_runs_know_what_was_trained_and_what_was_tested(tmp_path):
    summaries = across(tmp_path, [B, A], [C], replace(OPTIONS, heads=("linear", "nonlinear")))
    assert [summary.corpus for summary in summaries] == ["a+b-to-c"] * 2
    run = read_run(summaries[0].folder)
    assert (run.config.trained_on, run.config.tested_on) == (("a", "b"), "c")
    assert (run.config.training_corpora, run.config.test_corpus) == (("a", "b"), "c")
    assert run.config.emotions == {}
    assert run.config.split == cross_split_config(SplitOptions())
    assert (summaries[0].folds, summaries[0].utterances, summaries[0].speakers) == (1, 36, 4)
    (trained,) = read_training_sides(run).values()
    assert {id_.partition("/")[0] for id_ in trained} == {"a", "b"}


def test_labels_of_the_tested_corpus_change_no_prediction(tmp_path):
    rng = np.random.default_rng(0)
    emotions = rng.permutation([u.emotion for u in C[0].utterances])
    shuffled = tuple(replace(u, emotion=e) for u, e in zip(C[0].utterances, emotions, strict=True))
    standardised = replace(OPTIONS, protocol=replace(QUICK, standardise="speaker"))
    for number, options in enumerate((OPTIONS, standardised)):
        one = across(tmp_path / f"{number}", [A], [C], options)
        other = across(tmp_path / f"{number}", [A], [(Manifest("c", shuffled), C[1])], options)
        for first, second in zip(one, other, strict=True):
            assert first.macro_f1 != second.macro_f1
            assert _said(first) == _said(second)
            assert _bytes(first, "weights.safetensors") == _bytes(second, "weights.safetensors")


def test_features_of_the_tested_corpus_change_no_model(tmp_path):
    options = replace(OPTIONS, protocol=replace(QUICK, standardise="global"))
    one = across(tmp_path / "one", [A], [C], options)
    moved = corpus("c", 4, seed=9, noise=5.0)
    for first, second in zip(one, across(tmp_path / "other", [A], [moved], options), strict=True):
        for name in ("weights.safetensors", "standardisation.safetensors"):
            assert _bytes(first, name) == _bytes(second, name)


def test_several_tests_are_one_training_and_give_the_runs_of_each_alone(tmp_path):
    told: list[Progress] = []
    together = across(tmp_path / "together", [A], [C, B], told=told.append)
    assert [summary.corpus for summary in together] == ["a-to-b"] * 2 + ["a-to-c"] * 2
    assert {step.total for step in told} == {EPOCHS}  # of the pass over frames, for two tested corpora
    alone = [*across(tmp_path / "alone", [A], [B]), *across(tmp_path / "alone", [A], [C])]
    for one, other in zip(together, alone, strict=True):
        assert one.folder.name == other.folder.name
        for name in ("weights.safetensors", "predictions.csv", "splits.json", "config.json"):
            assert _bytes(one, name) == _bytes(other, name)


def test_a_run_that_is_there_is_not_trained_again(tmp_path):
    (first,) = across(tmp_path, [A], [B], replace(OPTIONS, heads=("linear",)))
    told: list[Progress] = []
    again = across(tmp_path, [A], [C, B], replace(OPTIONS, heads=("linear",)), told=told.append)
    assert [summary.reused for summary in again] == [True, False]
    assert again[0].folder == first.folder
    assert told
    told.clear()
    assert all(s.reused for s in across(tmp_path, [A], [C, B], replace(OPTIONS, heads=("linear",))))
    assert told == []


def test_an_interrupted_training_goes_on_with_what_was_kept(tmp_path, monkeypatch):
    from ser_cache import kept_folds

    monkeypatch.setattr(kept_folds, "WORTH_KEEPING", 0.0)
    monkeypatch.setattr("ser_cache.probing.write_run", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        across(tmp_path, [A], [B, C])
    monkeypatch.undo()
    told: list[Progress] = []
    resumed = across(tmp_path, [A], [B, C], told=told.append)
    assert [step.heads for step in told] == ["multilayer"] * EPOCHS  # the linear head was kept
    for one, other in zip(resumed, across(tmp_path / "whole", [A], [B, C]), strict=True):
        for name in ("weights.safetensors", "predictions.csv"):
            assert _bytes(one, name) == _bytes(other, name)


def _interrupt(*_, **__):
    raise KeyboardInterrupt


def test_a_searched_rate_is_searched_once_for_all_that_is_tested(tmp_path):
    from ser_cache.learning_rate_search import RateSearchOptions

    search = RateSearchOptions(start=1e-3, epochs=1, max_rounds=2)
    options = replace(OPTIONS, heads=("linear",), protocol=replace(QUICK, search=search))
    one, other = across(tmp_path, [A], [B, C], options)
    name = "learning_rate_search.json"
    assert json.loads((one.folder / name).read_text()) == json.loads((other.folder / name).read_text())


def test_speakers_of_two_corpora_with_one_name_are_two_people():
    crossing = cross([A[0], B[0]], [C[0]])
    split = cross_split(crossing, SplitOptions())
    rows = crossing.utterances()
    check_split(split, rows)
    assert {u.speaker for u in rows} == {
        f"{n}/s{i}" for n, k in (("a", 5), ("b", 3), ("c", 4)) for i in range(k)
    }
    assert split.speaker_disjoint
    by_id = {u.id: u.speaker for u in rows}
    validating = {by_id[id_].partition("/")[0] for id_ in split.validation}
    assert validating == {"a", "b"}, "each training corpus gives a share"


@settings(max_examples=8, deadline=None)
@given(
    st.integers(3, 6),
    st.integers(3, 5),
    st.integers(0, 5),
    st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.5, 0.1), (0.1, 0.3, 0.6)]),
    st.sampled_from(["speaker", "random"]),
    st.randoms(),
)
def test_every_utterance_is_on_one_side_whatever_is_asked_and_in_any_order(
    speakers, tested, seed, ratios, kind, random
):
    manifests = [
        Manifest("x", utterances(speakers)),
        Manifest("y", utterances(4)),
        Manifest("z", utterances(tested)),
    ]
    options = SplitOptions(kind, seed, ratios)
    crossing = cross(manifests[:2], manifests[2:])
    split = cross_split(crossing, options)
    check_split(split, crossing.utterances())
    assert set(split.test) == {f"z/{u.id}" for u in manifests[2].utterances}
    again = [Manifest(m.corpus, tuple(random.sample(m.utterances, len(m)))) for m in manifests]
    assert cross_split(cross(again[1::-1], again[2:]), options) == split


def test_the_validation_share_is_the_ratios_without_the_test():
    assert validation_share(SplitOptions()) == pytest.approx(1 / 9, abs=1e-6)
    assert validation_share(SplitOptions(ratios=(0.6, 0.2, 0.2))) == 0.25
    crossing = cross([corpus("a", 20)[0]], [C[0]])
    sizes = Counter(map(len, (cross_split(crossing, SplitOptions(ratios=(0.6, 0.2, 0.2))).validation,)))
    assert sizes == {45: 1}  # a quarter of 180, five whole speakers
    with pytest.raises(SplitError, match="--split loso does not say who validates"):
        cross_split(crossing, SplitOptions("loso"))


def test_classes_are_the_common_emotions_or_those_chosen(tmp_path):
    other = corpus("d", 4, ("anger", "calm", "fear", "neutral"), seed=4)
    (plain,) = across(tmp_path, [A], [other], replace(OPTIONS, heads=("linear",)))
    run = read_run(plain.folder)
    assert run.config.classes == ("anger", "fear", "neutral")
    assert run.config.emotions == {"anger": ("anger",), "fear": ("fear",), "neutral": ("neutral",)}
    assert plain.utterances == 36
    choice = EmotionChoice.parse("anger,neutral=neutral+calm")
    (merged,) = across(tmp_path, [A], [other], replace(OPTIONS, heads=("linear",)), choice)
    run = read_run(merged.folder)
    assert run.config.emotions == {"anger": ("anger",), "neutral": ("calm", "neutral")}
    assert merged.utterances == 36
    truths = Counter(row["truth"] for row in read_predictions(run) if row["seed"] == "0")
    assert truths == {"anger": 12, "neutral": 24}


def test_failed_utterances_of_either_side_are_left_out_and_said(tmp_path):
    trained = corpus("a", 5, failed={"s0-anger-0": "it is empty"})
    tested = corpus("c", 4, failed={"s1-fear-1": "too short", "s1-fear-2": "too short"})
    summary, *_ = across(tmp_path, [trained], [tested])
    assert summary.utterances == 34
    one, two = summary.warnings[:2]
    assert one == (
        "whisper-small: 1 of 45 utterances of a left out because extraction failed, "
        "for instance s0-anger-0: it is empty"
    )
    assert two.startswith("whisper-small: 2 of 36 utterances of c left out")


def test_a_tested_corpus_that_failed_as_a_whole_is_refused(tmp_path):
    rows = utterances(4)
    tested = corpus("c", 4, failed={row.id: "it is empty" for row in rows})
    with pytest.raises(TrainingError, match="whisper-small/c has no usable utterance"):
        across(tmp_path, [A], [tested])


def test_what_speakers_statistics_mean_is_said(tmp_path):
    options = replace(OPTIONS, heads=("linear",), protocol=replace(QUICK, standardise="speaker"))
    (summary,) = across(tmp_path, [A], [C], options)
    assert any("that speaker's own mean and deviation" in line for line in summary.warnings)


@pytest.mark.parametrize(
    ("train", "test", "choice", "error", "says"),
    [
        (["a"], ["a"], None, SettingsError, "a is to be trained on and to be tested; name it once"),
        ([], ["a"], None, SettingsError, "needs both: --train and --test"),
        (["a"], [], None, SettingsError, "needs both"),
        (["a"], ["other"], None, SettingsError, "no emotion in common (a: anger, fear, neutral; other: calm"),
        (["a"], ["calm"], "anger,calm", ManifestError, "no training corpus has calm"),
        (["calm"], ["a"], "anger,calm", ManifestError, "a has no calm; it has anger 15"),
        (["a", "other"], ["b"], "anger,fear", ManifestError, "other has no utterance of anger, fear"),
        (["a"], ["b"], "anger,feer", UnknownNameError, "unknown emotion 'feer'"),
        (
            ["a"],
            ["twin"],
            None,
            SplitError,
            "a and twin share 45 recordings, such as s0-anger-0 and x-s0-anger-0",
        ),
        (["a", "twin"], ["b"], None, SplitError, "a and twin share 45 recordings"),
    ],
)
def test_corpora_that_cannot_be_set_against_each_other_get_one_line(train, test, choice, error, says):
    heard = Manifest("a", tuple(replace(u, sha256=f"{n:064x}") for n, u in enumerate(A[0].utterances)))
    known = {
        "a": heard,
        "b": B[0],
        "twin": Manifest("twin", tuple(replace(u, id=f"x-{u.id}") for u in heard.utterances)),
        "other": Manifest("other", utterances(4, emotions=("calm", "sadness"))),
        "calm": Manifest("calm", utterances(4, emotions=("anger", "calm", "fear"))),
    }
    with pytest.raises(error) as caught:
        cross(
            [known[name] for name in train],
            [known[name] for name in test],
            EmotionChoice.parse(choice) if choice else None,
        )
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("speakers", [1, 2])
def test_a_corpus_of_too_few_speakers_validates_with_utterances_and_the_others_with_speakers(speakers):
    few, many = corpus("tess", speakers)[0], corpus("many", 5, seed=3)[0]
    crossing = cross([few, many], [C[0]])
    split = cross_split(crossing, SplitOptions())
    speaker = {u.id: u.speaker for u in crossing.utterances()}
    check_split(split, crossing.utterances())
    assert not split.speaker_disjoint
    for name, shared in (("tess", True), ("many", False)):
        sides = [
            {speaker[id_] for id_ in side if id_.startswith(f"{name}/")}
            for side in (split.train, split.validation)
        ]
        assert all(sides)
        assert bool(sides[0] & sides[1]) == shared
    emotions = Counter(id_.split("-")[1] for id_ in split.validation if id_.startswith("tess/"))
    assert set(emotions) == set(EMOTIONS)


def test_training_on_a_corpus_of_two_speakers_says_who_chose_the_epoch(tmp_path):
    (summary,) = across(tmp_path, [corpus("tess", 2)], [C], replace(OPTIONS, heads=("linear",)))
    (said,) = (line for line in summary.warnings if "too few speakers" in line)
    assert said.startswith("too few speakers for one of them to validate: tess (s0 and s1); the epoch is")
    random = replace(OPTIONS, heads=("linear",), split=SplitOptions("random"))
    (summary,) = across(tmp_path, [corpus("tess", 2)], [C], random)
    assert any("speakers that are trained on too" in line for line in summary.warnings)
    assert not any("too few" in line for line in summary.warnings)


def test_a_restricted_corpus_gives_other_runs_and_whole_ones_keep_their_names(tmp_path):
    from ser_cache.emotions import choose_emotions

    options = replace(OPTIONS, heads=("linear",), split=SplitOptions("loso"))
    manifest, features = A
    (whole,) = probe(features, manifest, options, tmp_path)
    same = choose_emotions(manifest, EmotionChoice.parse("neutral=neutral+calm,fear,anger"))
    (again,) = probe(features, same, options, tmp_path)
    assert again.reused
    assert again.folder == whole.folder
    fewer = choose_emotions(manifest, EmotionChoice.parse("anger,x=fear+neutral"))
    (restricted,) = probe(features, fewer, options, tmp_path)
    config = read_run(restricted.folder).config
    assert (config.classes, config.emotions) == (
        ("anger", "x"),
        {"anger": ("anger",), "x": ("fear", "neutral")},
    )
    assert not restricted.warnings, "not a stale run of the same choices"
    with pytest.raises(TrainingError, match="'s0-neutral-0' has features and no label here"):
        probe(features, choose_emotions(manifest, EmotionChoice.parse("anger,fear")), options, tmp_path)


def _said(summary):
    return [
        (row["id"], row["seed"], row["predicted"], [row[f"score:{e}"] for e in EMOTIONS])
        for row in read_predictions(read_run(summary.folder))
    ]


def _bytes(summary, name):
    return (summary.folder / name).read_bytes()


def test_the_order_of_batches_depends_on_nothing_that_is_tested():
    assert canonical_json(cross_split_config(SplitOptions())) == (
        '{"kind":"cross-corpus","seed":0,"share":0.111111,"validation":"speaker"}'
    )
