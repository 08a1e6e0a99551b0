"""Agreement of clusters with labels, and silhouettes: beside naive versions and published values."""

import sys
import tracemalloc
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.metrics import normalized_mutual_info_score, silhouette_samples

from ser_cache.clustering import agreement, silhouettes
from ser_cache.clustering.measures import (
    contingency,
    normalised_mutual_information,
    permuted_tables,
    purity,
)

# Manning, Raghavan, Schütze 2008, Introduction to Information Retrieval, figure 16.4: 17 points.
BOOK_CLUSTERS = np.repeat([0, 1, 2], [6, 6, 5])
BOOK_LABELS = ["x"] * 5 + ["o"] + ["x"] + ["o"] * 4 + ["d"] + ["x"] * 2 + ["d"] * 3

partitions = st.integers(2, 30).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 4), min_size=n, max_size=n) for _ in range(2)))
)


def compact(numbers):
    """Numbers from 0 without gaps, as clusters have."""
    return np.unique(numbers, return_inverse=True)[1]


def naive_purity(clusters, labels):
    right = 0
    for cluster in set(clusters):
        inside = [label for own, label in zip(clusters, labels, strict=True) if own == cluster]
        right += max(inside.count(label) for label in inside)
    return right / len(labels)


def naive_silhouettes(points, clusters):
    scores = []
    for i, own in enumerate(clusters):
        means = {}
        for other in set(clusters):
            distances = [
                float(np.linalg.norm(points[i] - points[j]))
                for j in range(len(points))
                if j != i and clusters[j] == other
            ]
            means[other] = np.mean(distances) if distances else None
        inside = means.pop(own)
        if inside is None or not means:
            scores.append(0.0)
            continue
        nearest = min(means.values())
        largest = max(inside, nearest)
        scores.append((nearest - inside) / largest if largest else 0.0)
    return scores


def test_the_textbook_example_has_its_published_values():
    found = agreement(BOOK_CLUSTERS, BOOK_LABELS, permutations=10)
    assert found.purity == pytest.approx(0.71, abs=0.005)
    assert found.nmi == pytest.approx(0.36, abs=0.005)
    assert found.purity == 12 / 17
    assert (found.utterances, found.groups) == (17, 3)


def test_the_silhouette_of_the_iris_species_is_the_published_one():
    flowers = load_iris()
    (scores,) = silhouettes(flowers.data, [flowers.target.astype(np.int64)])
    assert scores.mean() == pytest.approx(0.503, abs=0.0005)  # Kaufman and Rousseeuw's data, by many programs


@given(partitions)
def test_purity_is_that_of_a_naive_count(drawn):
    clusters, groups = map(compact, drawn)
    assert purity(contingency(clusters, groups)) == pytest.approx(naive_purity(clusters.tolist(), groups))


@given(partitions)
def test_normalised_mutual_information_is_scikit_learns(drawn):
    clusters, groups = map(compact, drawn)
    both_one = len(set(clusters)) == len(set(groups)) == 1
    theirs = 0.0 if both_one else normalized_mutual_info_score(groups, clusters)  # scikit-learn says 1
    assert normalised_mutual_information(contingency(clusters, groups)) == pytest.approx(theirs, abs=1e-9)


@settings(deadline=None)
@given(partitions, st.integers(1, 3), st.randoms(use_true_random=False))
def test_silhouettes_are_those_of_two_loops(drawn, width, dice):
    clusters = compact(drawn[0])
    points = np.array([[dice.choice([0.0, 1.0, 2.5]) for _ in range(width)] for _ in clusters])
    (scores,) = silhouettes(points, [clusters])
    np.testing.assert_allclose(scores, naive_silhouettes(points, clusters.tolist()), atol=1e-6)


def test_silhouettes_of_many_partitions_are_scikit_learns_of_each():
    dice = np.random.default_rng(0)
    points = dice.normal(size=(300, 5))
    many = [dice.integers(0, k, 300) for k in (2, 5, 9)]
    for found, clusters in zip(silhouettes(points, many), many, strict=True):
        np.testing.assert_allclose(found, silhouette_samples(points, clusters), atol=1e-9)


def test_silhouettes_do_not_depend_on_the_rows_in_memory_at_once(monkeypatch):
    module = sys.modules["ser_cache.clustering.silhouettes"]  # in the package, the name is the function's
    dice = np.random.default_rng(0)
    points, clusters = dice.normal(size=(700, 4)), dice.integers(0, 4, 700)
    whole = silhouettes(points, [clusters])[0]
    monkeypatch.setattr(module, "ROWS_MEBIBYTES", 0.05)  # nine rows
    np.testing.assert_allclose(silhouettes(points, [clusters])[0], whole, atol=1e-12)


def test_points_of_no_cluster_count_for_nobody():
    dice = np.random.default_rng(0)
    points, clusters = dice.normal(size=(40, 3)), dice.integers(0, 3, 40)
    without = clusters.copy()
    without[::4] = -1
    (scores,) = silhouettes(points, [without])
    assert np.isnan(scores[::4]).all()
    kept = without >= 0
    np.testing.assert_allclose(scores[kept], silhouette_samples(points[kept], clusters[kept]), atol=1e-9)


def test_chance_is_the_mean_over_all_orders_of_the_labels():
    clusters, groups = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 2])
    orders = [np.array(order) for order in permutations(groups)]
    expected = np.mean([purity(contingency(clusters, order)) for order in orders])
    expected_nmi = np.mean([normalised_mutual_information(contingency(clusters, order)) for order in orders])
    names = [f"g{number}" for number in groups]
    found = agreement(clusters, names, permutations=4000)
    assert found.purity_chance == pytest.approx(expected, abs=0.01)
    assert found.nmi_chance == pytest.approx(expected_nmi, abs=0.01)
    assert found.purity_chance <= found.purity_chance_high <= 1


def test_permuted_tables_keep_both_margins():
    dice = np.random.default_rng(1)
    clusters, groups = dice.integers(0, 4, 60), dice.integers(0, 3, 60)
    table = contingency(clusters, groups)
    permuted = np.stack(list(permuted_tables(clusters, groups, 20, seed=0)))
    assert (permuted.sum(axis=1) == table.sum(axis=0)).all()
    assert (permuted.sum(axis=2) == table.sum(axis=1)).all()
    assert len({one.tobytes() for one in permuted}) > 1


def test_labels_without_relation_agree_as_chance_does():
    dice = np.random.default_rng(0)
    clusters = dice.integers(0, 6, 600)
    found = agreement(clusters, [f"s{n}" for n in dice.integers(0, 24, 600)], permutations=200)
    assert abs(found.ari) < 0.01
    assert abs(found.ami) < 0.02
    assert found.nmi == pytest.approx(found.nmi_chance, abs=0.02)
    assert found.nmi > 0.03  # which is why it is shown beside its chance
    assert found.purity == pytest.approx(found.purity_chance, abs=0.02)


def test_equal_partitions_agree_wholly_whatever_they_are_called():
    clusters = np.array([2, 2, 0, 0, 1])
    found = agreement(clusters, ["b", "b", "c", "c", "a"], permutations=5)
    assert (found.ari, found.ami, found.nmi, found.purity) == pytest.approx((1, 1, 1, 1))


def test_utterances_without_the_label_are_left_out():
    clusters = np.array([0, 0, 1, 1, 1])
    found = agreement(clusters, ["a", "a", "b", "", "b"], permutations=5)
    assert (found.utterances, found.ari, found.purity) == (4, 1.0, 1.0)


@pytest.fixture
def peak():
    """Bytes that were held at once since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_a_group_for_nearly_every_utterance_takes_no_memory_for_every_pair(monkeypatch, peak):
    monkeypatch.setattr(sys.modules["ser_cache.clustering.silhouettes"], "ROWS_MEBIBYTES", 1)
    dice, count = np.random.default_rng(0), 3000
    points, groups = dice.normal(size=(count, 2)), np.arange(count) % (count - 2)
    silhouettes(points[:9], [groups[:9] % 2])  # imports
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    (scores,) = silhouettes(points, [groups])
    assert np.count_nonzero(scores) <= 4  # those that are not alone in their group
    assert peak() - before < 8 * count**2 / 6


def test_permutations_of_many_groups_are_not_held_all_at_once(peak):
    dice, groups = np.random.default_rng(0), 2000
    clusters = dice.integers(0, 10, 3 * groups)
    names = [f"s{number % groups}" for number in range(3 * groups)]
    agreement(clusters, names, permutations=2)  # imports
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    agreement(clusters, names, permutations=100)
    assert peak() - before < 8 * 100 * 10 * groups / 2


def test_silhouettes_tell_how_many_points_are_done(monkeypatch):
    monkeypatch.setattr(sys.modules["ser_cache.clustering.silhouettes"], "ROWS_MEBIBYTES", 0.05)
    points, told = np.random.default_rng(0).normal(size=(700, 2)), []
    silhouettes(points, [np.arange(700) % 3], lambda done, total: told.append((done, total)))
    assert len(told) > 10
    assert told == sorted(told)
    assert told[-1] == (700, 700)
