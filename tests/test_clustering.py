"""Clustering: a known mixture is found again, whatever the order, and what cannot be clustered is said."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_features import Features, utterances
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from ser_cache.clustering import (
    ClusterOptions,
    cluster,
    cluster_points,
    label_sets,
    read_clustering,
    stale_clusterings,
    stored_clusterings,
)
from ser_cache.clustering.labels import decade
from ser_cache.clustering.partitioning import k_means, renumbered
from ser_cache.clustering.preparing import principal_components, standardised
from ser_cache.emotions import EmotionChoice, choose_emotions
from ser_cache.errors import ClusteringError, ResultsError
from ser_cache.manifest import Manifest
from ser_cache.results import list_runs

FOUR = ClusterOptions(k=(4,))


def mixture(groups=4, each=40, width=6, noise=1.0, seed=0):
    """Well-separated clouds: ids, points, and the cloud of each."""
    dice = np.random.default_rng(seed)
    centres = 12 * np.eye(width)[:groups]
    of = np.repeat(np.arange(groups), each)
    points = centres[of] + noise * dice.normal(size=(len(of), width))
    return [f"u{number:04d}" for number in range(len(of))], points.astype(np.float32), of


def named(of):
    return tuple(f"g{number}" for number in of)


@pytest.mark.parametrize("reduce", [None, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_known_mixture_is_found_again(seed, reduce):
    ids, points, of = mixture(seed=seed)
    found = cluster_points(ids, points, {"emotion": named(of)}, replace(FOUR, seeds=(seed,), reduce=reduce))
    assert found.agreements["emotion"][0].ari > 0.95
    assert found.agreements["emotion"][0].purity > 0.95
    assert found.silhouette > 0.4
    assert found.label_silhouettes["emotion"] == pytest.approx(found.silhouette, abs=0.01)


def test_the_true_number_of_clusters_has_the_best_silhouette():
    ids, points, of = mixture()
    found = cluster_points(ids, points, {"emotion": named(of)}, ClusterOptions(k=tuple(range(2, 9))))
    assert found.k == 4
    assert [trial.k for trial in found.trials] == list(range(2, 9))
    inertia = [trial.inertia[0] for trial in found.trials]
    assert inertia == sorted(inertia, reverse=True)


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(dice):
    ids, points, of = mixture(noise=6.0, each=15)  # clouds that overlap, so that a hair would matter
    order = list(range(len(ids)))
    dice.shuffle(order)
    options = replace(FOUR, seeds=(0, 1), permutations=20)
    straight = cluster_points(ids, points, {"emotion": named(of)}, options)
    mixed = cluster_points([ids[row] for row in order], points[order], {"emotion": named(of[order])}, options)
    assert mixed.summary() == straight.summary()
    assert mixed.members.ids == straight.members.ids
    assert (mixed.members.clusters == straight.members.clusters).all()
    assert (mixed.members.components == straight.members.components).all()


def test_a_seed_gives_the_same_clusters_every_time():
    ids, points, of = mixture(noise=8.0)
    one, other = (
        cluster_points(ids, points, {"emotion": named(of)}, replace(FOUR, permutations=5)) for _ in range(2)
    )
    assert one.summary() == other.summary()
    third = cluster_points(ids, points, {"emotion": named(of)}, replace(FOUR, seeds=(7,), permutations=5))
    assert third.trial.inertia != one.trial.inertia


def test_seeds_are_compared_with_each_other_and_the_least_inertia_is_kept():
    ids, points, of = mixture(noise=9.0)
    options = replace(FOUR, seeds=(3, 4, 5), restarts=1, permutations=5)
    found = cluster_points(ids, points, {"emotion": named(of)}, options)
    assert len(found.trial.stability) == 3
    assert all(-0.5 < value <= 1 for value in found.trial.stability)
    best = int(np.argmin(found.trial.inertia))
    assert found.seed == options.seeds[best]
    assert found.silhouette == pytest.approx(found.trial.silhouette[best])


def test_it_is_k_means_of_standardised_features():
    ids, points, of = mixture(noise=5.0)
    points[:, 0] *= 1000  # without standardising, this feature alone would count
    found = cluster_points(ids, points, {"emotion": named(of)}, FOUR)
    scaled = StandardScaler().fit_transform(points.astype(np.float64))
    plain = KMeans(4, n_init=10, random_state=0).fit(scaled)
    assert adjusted_rand_score(plain.labels_, found.members.clusters) == pytest.approx(1.0)
    assert found.trial.inertia[0] == pytest.approx(plain.inertia_)
    components = PCA(2).fit_transform(scaled)
    np.testing.assert_allclose(np.abs(found.members.components), np.abs(components), atol=1e-6)
    assert sum(found.explained) == pytest.approx(1)


def test_within_speakers_what_speakers_differ_in_is_gone():
    ids, points, of = mixture(groups=2, each=60)
    speakers = np.arange(len(ids)) % 3
    points[:, -1] += 200 * speakers  # louder than any emotion
    labels = {"emotion": named(of), "speaker": named(speakers)}
    pooled = cluster_points(ids, points, labels, ClusterOptions(k=(3,)))
    within = cluster_points(ids, points, labels, ClusterOptions(k=(2,), standardise="speaker"))
    assert pooled.agreements["speaker"][0].ari > within.agreements["speaker"][0].ari
    assert within.agreements["emotion"][0].ari > 0.95
    assert within.label_silhouettes["speaker"] < 0.05


def test_clusters_are_numbered_by_size_and_then_by_their_first_member():
    assert renumbered(np.array([5, 3, 3, 3, 5, 9])).tolist() == [1, 0, 0, 0, 1, 2]
    assert renumbered(np.array([2, 1, 1, 2])).tolist() == [0, 1, 1, 0]


def test_k_means_has_one_thread_whatever_is_allowed(monkeypatch):
    allowed = []
    fit = KMeans.fit

    def watched(self, *arguments):
        allowed.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp")
        return fit(self, *arguments)

    monkeypatch.setattr(KMeans, "fit", watched)
    with threadpool_limits(4, user_api="openmp"):
        k_means(np.random.default_rng(0).normal(size=(50, 3)), 2, 0, 1)
    assert set(allowed) == {1}


@pytest.mark.parametrize(("rows", "columns"), [(50, 8), (8, 50)])
def test_components_are_those_of_the_plain_decomposition(rows, columns):
    points = standardised(np.random.default_rng(0).normal(size=(rows, columns)))
    found = principal_components(points)
    values = np.linalg.svd(points, compute_uv=False) ** 2
    assert found.explained[:5] == pytest.approx(values[:5] / values.sum())
    np.testing.assert_allclose((found.points[:, :3] ** 2).sum(axis=0), values[:3], rtol=1e-6)


def test_features_that_never_change_are_left_out_and_counted():
    ids, points, of = mixture()
    points[:, 2:4] = 0.1
    found = cluster_points(ids, points, {"emotion": named(of)}, FOUR)
    assert (found.features, found.constant) == (4, 2)


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        (lambda p: p[:4], FOUR, "4 utterances cannot make 4 clusters; choose a --k below their number"),
        (
            lambda p: np.full_like(p, 0.3),
            FOUR,
            "all features are constant: 160 utterances cannot be told apart by them",
        ),
        (
            lambda p: np.repeat(p[:3], 9, axis=0),
            FOUR,
            "27 utterances have 3 different features, too few for 4",
        ),
        (
            lambda p: np.where(np.arange(len(p))[:, None] == 2, np.nan, p),
            FOUR,
            "of 1 of 160 .* finite .u0002.",
        ),
        (lambda p: np.where(np.arange(len(p))[:, None] < 7, np.inf, p), FOUR, "u0002 and 4 more"),
        (lambda p: p, replace(FOUR, reduce=7), "6 principal components, fewer than the 7"),
        (
            lambda p: p,
            replace(FOUR, standardise="speaker"),
            "there is no speaker with two groups to standardise within; choose global, or one of emotion",
        ),
    ],
)
def test_what_cannot_be_clustered_is_said_in_one_line(change, options, says):
    _, points, of = mixture()
    points = change(points)
    ids = [f"u{number:04d}" for number in range(len(points))]
    with pytest.raises(ClusteringError, match=says) as raised:
        cluster_points(ids, points, {"emotion": named(of[: len(points)])}, options)
    assert "\n" not in str(raised.value)


def test_features_constant_within_each_speaker_are_refused():
    ids, points, of = mixture(groups=2, each=10)
    points = np.repeat(points[[0, 10, 5]], [7, 7, 6], axis=0)
    labels = {"emotion": named(of), "speaker": tuple("a" * 7 + "b" * 7 + "c" * 6)}
    with pytest.raises(ClusteringError, match="all features are constant within each group"):
        cluster_points(ids, points, labels, ClusterOptions(k=(2,), standardise="speaker"))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"k": (1, 2)}, ClusteringError),
        ({"k": (3, 2)}, ClusteringError),
        ({"reduce": 0}, ClusteringError),
        ({"seeds": ()}, ClusteringError),
        ({"restarts": 0}, ClusteringError),
    ],
)
def test_options_without_sense_are_refused(wrong, error):
    with pytest.raises(error):
        ClusterOptions(**wrong)


def test_labels_are_those_that_tell_groups_apart():
    clips = [
        replace(u, gender="female" if u.speaker < "s3" else "male", age=age, sentence=u.id, extra=extra)
        for u, age, extra in zip(
            utterances(), ["23", "29", "30", ""] * 12, [(("room", "a"),), ()] * 23, strict=False
        )
    ]
    found = label_sets(clips)
    assert list(found) == ["emotion", "speaker", "gender", "age"]  # sentences are all different, language one
    assert set(found["age"]) == {"20-29", "30-39", ""}
    assert label_sets(clips, ["room"])["room"][:2] == ("a", "")
    with pytest.raises(ClusteringError, match=r"no utterance has a 'take' to compare with; .* are: room"):
        label_sets(clips, ["take"])


def test_ages_are_grouped_by_decades():
    assert [decade(age) for age in ("9", "20", "29", "74", "20s", "")] == [
        "0-9",
        "20-29",
        "20-29",
        "70-79",
        "20s",
        "",
    ]


@pytest.fixture
def made():
    """A made-up corpus and its features."""
    clips = utterances()
    return Features(clips), Manifest("toy", tuple(sorted(clips, key=lambda clip: clip.id)))


def test_layers_are_stored_and_found_again(made, tmp_path):
    features, manifest = made
    options = ClusterOptions(seeds=(0, 1), permutations=10)
    first = cluster(features, manifest, (0, 2), options, tmp_path)
    assert [one.config.layer for one in first] == [0, 2]
    assert [one.clustering.k for one in first] == [3, 3]
    assert not any(one.reused for one in first)
    again = cluster(features, manifest, (2, 1), options, tmp_path)
    assert [one.reused for one in again] == [True, False]
    assert again[0].clustering.summary() == first[1].clustering.summary()
    assert again[0].clustering.members.labels == first[1].clustering.members.labels
    assert not cluster(features, manifest, (2,), options, tmp_path, force=True)[0].reused
    assert list_runs(tmp_path) == []


def test_the_layers_that_tell_emotions_apart_are_seen(made, tmp_path):
    features, manifest = made
    noise, trace = cluster(features, manifest, (0, 2), ClusterOptions(permutations=10), tmp_path)
    assert noise.clustering.agreements["emotion"][0].ari < 0.3
    assert trace.clustering.agreements["emotion"][0].ari > 0.9


def test_assignments_are_a_table_of_every_utterance(made, tmp_path):
    features, manifest = made
    (stored,) = cluster(features, manifest, (2,), ClusterOptions(permutations=10), tmp_path)
    with (stored.folder / "assignments.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["id"] for row in rows] == sorted(features.ids)
    assert list(rows[0]) == ["id", "cluster", "silhouette", "pc1", "pc2", "emotion", "speaker"]
    by_id = {clip.id: clip for clip in manifest.utterances}
    assert all(row["emotion"] == by_id[row["id"]].emotion for row in rows)
    summary = json.loads((stored.folder / "summary.json").read_text())
    assert summary["cluster_sizes"] == [sum(row["cluster"] == str(n) for row in rows) for n in range(3)]
    assert sum(stored.clustering.sizes()) == len(rows)


@pytest.mark.parametrize("changed", ["label", "features", "option"])
def test_other_labels_features_or_options_are_another_clustering(made, tmp_path, changed):
    features, manifest = made
    options = ClusterOptions(permutations=10)
    cluster(features, manifest, (2,), options, tmp_path)
    if changed == "label":
        first = manifest.utterances[0]
        manifest = Manifest("toy", (replace(first, emotion="neutral"), *manifest.utterances[1:]))
    elif changed == "features":
        features.fingerprint = replace(features.fingerprint, digest="b" * 64)
    else:
        options = replace(options, reduce=2)
    assert not cluster(features, manifest, (2,), options, tmp_path)[0].reused
    assert len(list(stored_clusterings(tmp_path))) == 2


def test_a_corpus_without_labels_that_lost_an_utterance_is_another_clustering(tmp_path):
    clips = tuple(replace(clip, emotion="fear", speaker="s0") for clip in utterances())
    options = ClusterOptions(k=(2,), permutations=5)
    (first,) = cluster(Features(clips), Manifest("toy", clips), (2,), options, tmp_path)
    assert not first.clustering.agreements
    (second,) = cluster(Features(clips[1:]), Manifest("toy", clips[1:]), (2,), options, tmp_path)
    assert not second.reused
    assert len(second.clustering.members.ids) == len(clips) - 1


@pytest.mark.parametrize("changed", ["label", "features", "new column"])
def test_of_clusterings_of_the_same_choices_the_newest_counts(made, tmp_path, changed):
    features, manifest = made
    options = ClusterOptions(k=(3,), permutations=5)
    (old,) = cluster(features, manifest, (2,), options, tmp_path)
    cluster(features, manifest, (1,), options, tmp_path)
    cluster(features, manifest, (2,), replace(options, reduce=2), tmp_path)
    assert stale_clusterings(all_stored(tmp_path)) == frozenset()
    digest, clips = features.fingerprint.digest, manifest.utterances
    if changed == "label":
        clips = (replace(clips[0], emotion="neutral"), *clips[1:])
    elif changed == "new column":
        clips = tuple(replace(clip, gender="f" if clip.speaker < "s2" else "m") for clip in clips)
    else:
        features.fingerprint = replace(features.fingerprint, digest="b" * 64)
    (new,) = cluster(features, Manifest("toy", clips), (2,), options, tmp_path)
    assert stale_clusterings(all_stored(tmp_path)) == {old.folder}
    features.fingerprint = replace(features.fingerprint, digest=digest)
    (again,) = cluster(features, manifest, (2,), options, tmp_path)
    assert again.reused
    assert stale_clusterings(all_stored(tmp_path)) == {new.folder}


def all_stored(runs):
    return [read_clustering(folder) for folder in stored_clusterings(runs)]


def test_other_emotions_are_no_other_state_of_the_same_clustering(made, tmp_path):
    features, manifest = made
    options = ClusterOptions(k=(2,), permutations=5)
    cluster(features, manifest, (2,), options, tmp_path)
    chosen_emotions = choose_emotions(manifest, EmotionChoice.parse("anger,rest=fear+neutral"))
    (some,) = cluster(features, chosen_emotions, (2,), options, tmp_path)
    assert read_clustering(some.folder).config == some.config
    assert some.config.emotions == {"anger": ("anger",), "rest": ("fear", "neutral")}
    assert stale_clusterings(all_stored(tmp_path)) == frozenset()


def test_progress_counts_k_means_silhouettes_and_agreement_of_every_layer(made, tmp_path):
    features, manifest = made
    options = ClusterOptions(k=(2, 3), seeds=(0, 1), permutations=5)
    told = []
    cluster(features, manifest, (0, 2), options, tmp_path, progress=lambda *news: told.append(news))
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert {total for _, total, _ in told} == {2 * (4 + 2)}
    assert told[-1] == (12, 12, "layer 2")
    assert [what for _, _, what in told][:3] == ["layer 0, k 2", "layer 0, k 2", "layer 0, k 3"]
    assert {"layer 2, silhouettes 100%", "layer 2, agreement with labels"} <= {what for _, _, what in told}


def test_the_order_of_the_manifest_is_the_same_clustering(made, tmp_path):
    features, manifest = made
    options = ClusterOptions(permutations=10)
    cluster(features, manifest, (2,), options, tmp_path)
    turned = Features(tuple(reversed(utterances())))
    assert cluster(turned, Manifest("toy", manifest.utterances[::-1]), (2,), options, tmp_path)[0].reused


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("assignments.csv", "id\n", "assignments.csv is not what was written"),
        ("config.json", None, "config.json is missing"),
        ("summary.json", "{}", "damaged"),
        ("summary.json", "not JSON", "damaged"),
        ("summary.json", '{"schema": 99}', "of another version"),
    ],
)
def test_a_damaged_clustering_is_named_and_made_again(made, tmp_path, file, content, says):
    features, manifest = made
    options = ClusterOptions(permutations=10)
    (stored,) = cluster(features, manifest, (2,), options, tmp_path)
    path = stored.folder / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ResultsError, match=says):
        read_clustering(stored.folder)
    assert not cluster(features, manifest, (2,), options, tmp_path)[0].reused
    assert read_clustering(stored.folder).clustering.summary() == stored.clustering.summary()


def test_one_emotion_gives_no_number_of_clusters(tmp_path):
    clips = utterances(emotions=("fear",))
    features, manifest = Features(clips), Manifest("toy", clips)
    with pytest.raises(
        ClusteringError, match=r"toy has no emotion with two groups .* give --k. It has: speaker"
    ):
        cluster(features, manifest, (2,), ClusterOptions(), tmp_path)
    (stored,) = cluster(features, manifest, (2,), ClusterOptions(k_of="speaker", permutations=5), tmp_path)
    assert stored.clustering.k == 5


def test_failed_utterances_are_left_out(tmp_path):
    clips = utterances()
    features = Features(clips, failed={clips[0].id: "not audio"})
    (stored,) = cluster(features, Manifest("toy", clips), (2,), ClusterOptions(permutations=5), tmp_path)
    assert len(stored.clustering.members.ids) == len(clips) - 1
