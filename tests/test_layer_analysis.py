"""Which layers matter: averages over folds, seeds and corpora, rescaling by norm, and each layer alone."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from layered_runs import save_run
from small_grid import cache_features, manifest
from small_runs import as_earlier_version

from ser_cache.errors import CacheError, ResultsError, StaleCacheError
from ser_cache.layer_analysis import (
    SHADES,
    bar,
    layer_norms,
    layer_weights,
    norms_from_cache,
    scores_by_layer,
    shaded,
)
from ser_cache.results import read_layer_weights, read_training_sides
from ser_cache.store import open_features

LAYERS = (1, 2, 3)
EARLIER, LATER = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"


def no_norms(run):
    raise CacheError("the cache is gone.")


def equal_norms(run):
    return dict.fromkeys(("0", "1"), np.ones(len(run.config.layers)))


@dataclass(frozen=True)
class Frames:
    """Frames of four utterances in three layers, and the pooled tier that follows from them."""

    states: tuple[np.ndarray, ...]
    ids: tuple[str, ...] = ("a", "b", "c", "d")
    frame_average: int = 1

    @property
    def frames(self):
        return np.array([states.shape[1] for states in self.states])

    def mean(self, layer):
        return np.stack([states[layer - 1].mean(axis=0) for states in self.states])

    def std(self, layer):
        return np.stack([states[layer - 1].std(axis=0) for states in self.states])


def frames(seed=0):
    rng = np.random.default_rng(seed)
    scale = np.array([1.0, 10.0, 0.1])[:, None, None]
    return Frames(tuple(scale * (rng.normal(size=(3, n, 5)) + 1) for n in (2, 9, 4, 1)))


# Norms


@given(st.integers(0, 50), st.sets(st.sampled_from("abcd"), min_size=1))
def test_norms_from_time_means_are_those_of_the_frames(seed, side):
    features = frames(seed)
    (found,) = layer_norms(features, LAYERS, {"0": frozenset(side)}).values()
    chosen = np.concatenate(
        [s for id_, s in zip("abcd", features.states, strict=True) if id_ in side], axis=1
    )
    expected = [np.sqrt(np.mean([np.sum(frame**2) for frame in layer])) for layer in chosen]
    assert found == pytest.approx(expected, rel=1e-12)


def test_norms_of_a_side_that_is_gone_are_refused():
    with pytest.raises(CacheError, match="fold 3 was trained on"):
        layer_norms(frames(), LAYERS, {"3": frozenset({"z"})})


# Weights


def test_weights_are_averaged_over_folds_and_seeds_and_then_over_corpora(tmp_path):
    many = {
        (fold, seed): [0.2 + 0.1 * seed, 0.3, 0.5 - 0.1 * seed] for fold in ("0", "1") for seed in (0, 1, 2)
    }
    few = {("0", 0): [0.8, 0.1, 0.1]}
    sides = {"0": ("x",), "1": ("y",)}
    runs = [
        save_run(tmp_path, "emovo", seeds=(0, 1, 2), weights=many, train=sides),
        save_run(tmp_path, "emodb", weights=few),
    ]
    (row,) = layer_weights(runs, equal_norms)
    # Six models of one corpus weigh as much as the one of the other.
    assert row.raw == pytest.approx([(0.3 + 0.8) / 2, (0.3 + 0.1) / 2, (0.4 + 0.1) / 2])
    assert row.rescaled == pytest.approx(row.raw)
    assert (row.corpora, row.layers, row.notes) == (("emodb", "emovo"), LAYERS, ())
    assert (row.backbone, row.head, row.protocol, row.split) == (
        *("whisper-small", "multilayer"),
        *("dasaro2024", "speaker"),
    )


def test_rescaled_weights_follow_the_norms_of_each_fold(tmp_path):
    weights = {("0", 0): [0.5, 0.25, 0.25], ("1", 0): [0.2, 0.2, 0.6]}
    run = save_run(tmp_path, weights=weights, train={"0": ("x",), "1": ("y",)})
    scale = {"0": np.array([1.0, 2.0, 4.0]), "1": np.array([10.0, 1.0, 1.0])}
    (row,) = layer_weights([run], lambda _: scale)
    first = np.array([0.5, 0.5, 1.0]) / 2.0
    second = np.array([2.0, 0.2, 0.6]) / 2.8
    assert row.rescaled == pytest.approx((first + second) / 2)
    assert row.rescaled.sum() == pytest.approx(1)


def test_equal_weights_of_unequal_layers_are_told_apart_by_the_cache(tmp_path):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-small", emovo, layers=(0, 1, 2, 3))
    folder = tmp_path / "cache" / "whisper-small" / "emovo"
    ids = tuple(clip.id for clip in emovo.utterances[:20])
    with open_features(folder, emovo.utterances) as features:
        digest = features.fingerprint.digest
        means, stds = (
            [getattr(features, kind)(layer)[:20].astype(float) for layer in LAYERS]
            for kind in ("mean", "std")
        )
    run = save_run(tmp_path / "runs", weights={("0", 0): [1 / 3] * 3}, train={"0": ids}, fingerprint=digest)
    (row,) = layer_weights([run], norms_from_cache(tmp_path / "cache", {"emovo": emovo}))
    norms = [np.sqrt(np.mean(np.sum(m**2 + s**2, axis=1))) for m, s in zip(means, stds, strict=True)]
    assert row.rescaled == pytest.approx(np.array(norms) / sum(norms))


def test_without_the_features_weights_stay_raw_and_say_why(tmp_path):
    emovo = manifest("emovo")
    run = save_run(tmp_path / "runs", weights={("0", 0): [0.5, 0.25, 0.25]})
    norms = norms_from_cache(tmp_path / "cache", {"emovo": emovo})
    (row,) = layer_weights([run], norms)
    assert row.rescaled is None
    assert row.raw == pytest.approx([0.5, 0.25, 0.25])
    assert "holds no features" in row.notes[0]
    cache_features(tmp_path / "cache", "whisper-small", emovo)
    with pytest.raises(StaleCacheError, match="other features than emovo-whisper-small-multilayer"):
        norms(run)
    with pytest.raises(CacheError, match="no manifest"):
        norms_from_cache(tmp_path / "cache", {})(run)


def test_one_corpus_without_features_leaves_all_raw(tmp_path):
    share = {("0", 0): [0.5, 0.25, 0.25]}
    runs = [save_run(tmp_path, corpus, weights=share) for corpus in ("emovo", "emodb")]

    def norms(run):
        return no_norms(run) if run.config.corpus == "emodb" else equal_norms(run)

    (row,) = layer_weights(runs, norms)
    assert row.rescaled is None
    assert row.notes == ("emodb: not rescaled, as the cache is gone.",)


def test_standardised_layers_are_not_rescaled(tmp_path):
    protocol = {"name": "ser", "standardise": "global"}
    run = save_run(tmp_path, weights={("0", 0): [0.5, 0.25, 0.25]}, protocol=protocol)
    (row,) = layer_weights([run], equal_norms)
    assert row.rescaled is None
    assert "standardise global gave all layers one scale" in row.notes[0]


def test_backbones_protocols_splits_and_layers_are_kept_apart(tmp_path):
    share, all_four = {("0", 0): [0.5, 0.25, 0.25]}, {("0", 0): [0.25] * 4}
    runs = [
        save_run(tmp_path, weights=share),
        save_run(tmp_path, weights=share, backbone="xls-r"),
        save_run(tmp_path, weights=share, protocol={"name": "superb"}),
        save_run(tmp_path, weights=share, split="loso"),
        save_run(tmp_path, weights=all_four, layers=(0, 1, 2, 3)),
        save_run(tmp_path, head="linear", layers=(3,)),
    ]
    assert len(layer_weights(runs, equal_norms)) == 5


def test_of_two_runs_of_a_corpus_the_larger_counts(tmp_path):
    more = {("0", seed): [0.1, 0.1, 0.8] for seed in (0, 1)}
    small = save_run(tmp_path, weights={("0", 0): [0.8, 0.1, 0.1]})
    large = save_run(tmp_path, weights=more, seeds=(0, 1))
    (row,) = layer_weights([small, large], equal_norms)
    assert row.raw == pytest.approx([0.1, 0.1, 0.8])
    assert row.notes == (f"passed over, as another run has more models or is newer: {small.folder.name}",)


def test_of_two_equally_large_runs_the_newer_counts(tmp_path):
    days = {0: "2026-01-02T00:00:00+00:00", 1: "2026-01-01T00:00:00+00:00"}
    runs = [save_run(tmp_path, seeds=(s,), weights={("0", s): [s, 0.5, 0.5]}, written=days[s]) for s in days]
    (row,) = layer_weights(runs, equal_norms)
    assert row.raw == pytest.approx([0, 0.5, 0.5])
    assert row.notes == (f"passed over, as another run has more models or is newer: {runs[1].folder.name}",)


def test_weights_on_the_newest_data_count_however_few_the_models(tmp_path):
    earlier = {("0", seed): [0.1, 0.1, 0.8] for seed in (0, 1)}
    runs = [
        save_run(tmp_path, seeds=(0, 1), weights=earlier, fingerprint="0" * 64, written=EARLIER),
        save_run(tmp_path, weights={("0", 0): [0.8, 0.1, 0.1]}, written=LATER),
        save_run(tmp_path, "emodb", weights={("0", 0): [0.2, 0.1, 0.7]}, fingerprint="1" * 64),
    ]
    (row,) = layer_weights(runs, equal_norms)
    assert row.corpora == ("emodb", "emovo")
    assert row.raw == pytest.approx([0.5, 0.1, 0.4])
    assert row.notes == ("emovo, whisper-small: 1 run on earlier data is left out",)


def test_damaged_layer_weights_are_named(tmp_path):
    run = as_earlier_version(save_run(tmp_path, weights={("0", 0): [0.5, 0.25, 0.25]}))
    path = run.folder / "layer_weights.json"
    path.write_text(json.dumps({"models": [{"fold": "0", "seed": 0, "weights": [1.0]}]}))
    with pytest.raises(ResultsError, match=r"layer_weights\.json cannot be read"):
        read_layer_weights(run)
    path.unlink()
    assert read_layer_weights(run) is None
    assert read_training_sides(run) == {"0": frozenset({"x"})}
    (run.folder / "splits.json").write_text("{}")
    with pytest.raises(ResultsError, match=r"splits\.json is not complete"):
        read_training_sides(run)


# Scores by layer


def test_scores_by_layer_come_from_runs_of_one_layer(tmp_path):
    runs = [
        save_run(tmp_path, head="linear", layers=(layer,), seeds=(0, 1), right={0: 4 + layer, 1: 6 + layer})
        for layer in (0, 1, 2)
    ]
    (row,) = scores_by_layer([*runs, save_run(tmp_path, weights={("0", 0): [0.5, 0.25, 0.25]})], "wa")
    assert row.layers == (0, 1, 2)
    assert row.mean == pytest.approx([5 / 9, 6 / 9, 7 / 9])
    assert row.std == pytest.approx([np.std([4, 6], ddof=1) / 9] * 3)
    (other,) = scores_by_layer(runs)
    assert other.mean == pytest.approx([run.metrics["pooled"]["mean"]["macro_f1"] for run in runs])


def sweep(folder, layers, right, features, written):
    return [
        save_run(
            folder, head="linear", layers=(n,), right={0: right}, fingerprint=features * 64, written=written
        )
        for n in layers
    ]


@pytest.mark.parametrize("label", "0123456789abcdef")
def test_a_curve_is_of_one_choice_of_data_the_newest(tmp_path, label):
    """Whatever the digits at the end of the names, which once chose between the two layer by layer."""
    earlier = sweep(tmp_path, (0, 1, 2), 3, label, EARLIER)
    later = sweep(tmp_path, (0, 1), 7, "f" if label != "f" else "0", LATER)
    (row,) = scores_by_layer([*earlier, *later], "wa")
    assert row.layers == (0, 1)
    assert row.mean == pytest.approx([7 / 9, 7 / 9])
    assert row.notes == ("emovo, whisper-small: 3 runs on earlier data are left out",)


def test_where_one_layer_alone_is_on_the_newest_data_it_stands_with_its_note(tmp_path):
    runs = [*sweep(tmp_path, (0, 1), 3, "0", EARLIER), *sweep(tmp_path, (1,), 7, "1", LATER)]
    (row,) = scores_by_layer(runs, "wa")
    assert (row.layers, row.mean.tolist()) == ((1,), [7 / 9])
    assert row.notes == ("emovo, whisper-small: 2 runs on earlier data are left out",)


def test_a_run_without_a_date_is_earlier_than_one_that_has_one(tmp_path):
    runs = [*sweep(tmp_path, (0, 1), 3, "0", LATER), *sweep(tmp_path, (0, 1), 7, "1", EARLIER)]
    undated = [replace(run, environment={}) for run in runs[:2]]
    (row,) = scores_by_layer([*undated, *runs[2:]], "wa")
    assert row.mean == pytest.approx([7 / 9, 7 / 9])


def test_one_layer_alone_is_no_sweep(tmp_path):
    assert scores_by_layer([save_run(tmp_path, head="linear", layers=(12,))]) == []


def test_one_seed_has_no_spread(tmp_path):
    runs = [save_run(tmp_path, head="linear", layers=(layer,)) for layer in (0, 1)]
    (row,) = scores_by_layer(runs)
    assert np.isnan(row.std).all()


def test_corpora_and_heads_have_curves_of_their_own(tmp_path):
    runs = [
        save_run(tmp_path, corpus, head=head, layers=(layer,))
        for corpus in ("emovo", "emodb")
        for head in ("linear", "nonlinear")
        for layer in (0, 1)
    ]
    found = [(row.corpus, row.head) for row in scores_by_layer(runs)]
    assert found == [("emodb", "linear"), ("emodb", "nonlinear"), ("emovo", "linear"), ("emovo", "nonlinear")]


# Blocks


def test_the_fullest_block_is_the_largest_weight():
    assert shaded(np.array([0.0, 0.25, 0.5, 0.75, 1.0]), 1) == SHADES
    assert shaded(np.zeros(2)) == SHADES[0] * 4
    assert len(shaded(np.ones(24), 2)) == 48


@given(arrays(float, 8, elements=st.floats(0, 1)))
def test_shades_keep_the_order_of_the_weights(values):
    order = [SHADES.index(block) for block in shaded(values, 1)]
    assert [order[place] for place in np.argsort(values)] == sorted(order)


@given(st.floats(-1, 2))
def test_a_bar_is_as_long_as_its_share(share):
    clipped = min(max(share, 0), 1)
    assert abs(len(bar(share, 20)) - 20 * clipped) <= 1
    assert (bar(0.0), bar(1.0, 5), bar(0.5, 1)) == ("", "█████", "▌")
