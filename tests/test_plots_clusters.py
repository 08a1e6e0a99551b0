"""Figures of clusters and confusion: in every format, the same bytes each time, readable without colour."""

import numpy as np
import pytest

from ser_cache.clustering import ClusterOptions, StoredClustering, cluster_points
from ser_cache.clustering.storing import ClusteringConfig
from ser_cache.errors import PlotError
from ser_cache.plots import FORMATS, canvas, clusters, draw_clustering, draw_confusion, draw_layer_agreement
from ser_cache.plots.canvas import MARKERS, apart

pytest.importorskip("matplotlib")
STARTS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


def stored(tmp_path, groups=3, layer=1, labelled=True, **options):
    dice = np.random.default_rng(layer)
    of = np.repeat(np.arange(groups), 20)
    points = 9 * np.eye(max(groups, 4))[of] + dice.normal(size=(len(of), max(groups, 4)))
    labels = {
        "emotion": tuple(f"mood {n}" for n in of),
        "speaker": tuple(f"s{n % 4}" for n in range(len(of))),
    }
    ids = [f"u{number:03d}" for number in range(len(of))]
    values = {"k": (groups,), "permutations": 5} | options
    made = ClusterOptions(**values)
    found = cluster_points(ids, points, labels if labelled else {}, made)
    config = ClusteringConfig(
        "toy", "mfcc", layer, made.k, made.seeds, "global", None, 10, 5, tuple(labels), "f", "u"
    )
    return StoredClustering(tmp_path, config, found, {})


@pytest.fixture
def drawn(monkeypatch):
    """Every figure that is drawn while a test runs."""
    figures = []

    class Kept(canvas.figure_class()):
        def savefig(self, *_arguments, **_named):
            figures.append(self)

    monkeypatch.setattr(canvas, "figure_class", lambda: Kept)
    return figures


def confusion(path):
    draw_confusion(path, [[3, 1], [0, 4]], ("anger", "fear"), "title")


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_drawn_with_the_same_bytes_each_time(tmp_path, suffix):
    paths = [tmp_path / "new" / f"{number}{suffix}" for number in (0, 1)]
    for path in paths:
        confusion(path)
    assert paths[0].read_bytes().startswith(STARTS[suffix])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_clusters_and_layers_are_drawn(tmp_path):
    one = stored(tmp_path)
    draw_clustering(tmp_path / "clusters.png", one)
    draw_layer_agreement(tmp_path / "layers.svg", [[one, stored(tmp_path, layer=2)]], "ari", "ARI")
    assert (tmp_path / "clusters.png").stat().st_size > 10_000
    assert (tmp_path / "layers.svg").stat().st_size > 10_000


def test_groups_differ_in_shape_and_are_named_at_their_means(tmp_path, drawn):
    draw_clustering(tmp_path / "a.png", stored(tmp_path))
    by_cluster, by_emotion, silhouettes, explained = drawn[0].axes
    for axes, names in ((by_cluster, {"0", "1", "2"}), (by_emotion, {"mood 0", "mood 1", "mood 2"})):
        shapes = {collection.get_paths()[0].vertices.tobytes() for collection in axes.collections}
        assert len(axes.collections) == len(shapes) == 3
        assert {text.get_text() for text in axes.texts} == names
    assert by_emotion.get_legend().get_texts()[0].get_text() == "mood 0 (20)"
    labels = [label.get_text() for label in silhouettes.get_yticklabels()]
    assert [label.split(":")[0] for label in labels] == ["0", "1", "2"]
    assert sum(bool(bars.get_hatch()) for bars in silhouettes.collections) == 1  # of three, the middle one
    assert explained.lines[0].get_ydata()[-1] == pytest.approx(100)


def test_a_range_of_k_has_a_row_more_with_a_ring_around_the_chosen(tmp_path, drawn):
    draw_clustering(tmp_path / "a.png", stored(tmp_path, k=(2, 3, 4), seeds=(0, 1)))
    silhouette, inertia = drawn[0].axes[4:]
    assert silhouette.get_xticks().tolist() == [2, 3, 4]
    rings = [line for line in silhouette.lines if line.get_fillstyle() == "none"]
    assert [line.get_xdata() for line in rings] == [[3]]
    assert inertia.get_ylabel() == "inertia"


def test_many_clusters_have_no_legend_and_clusters_without_labels_one_scatter(tmp_path, drawn):
    draw_clustering(tmp_path / "a.png", stored(tmp_path, groups=14))
    assert drawn[0].axes[0].get_legend() is None
    assert len(drawn[0].axes[0].texts) == 14
    draw_clustering(tmp_path / "b.png", stored(tmp_path, labelled=False))
    assert not drawn[1].axes[1].get_visible()


def test_more_groups_than_shapes_are_told_apart_by_what_is_hollow(tmp_path, drawn):
    draw_clustering(tmp_path / "a.png", stored(tmp_path, groups=20))
    looks = {
        (marks.get_paths()[0].vertices.tobytes(), len(marks.get_facecolor()) > 0)
        for marks in drawn[0].axes[0].collections
    }
    assert len(looks) == 20


@pytest.mark.parametrize("points", [100, 20_000])
def test_very_many_points_are_a_picture_within_the_vectors(tmp_path, drawn, monkeypatch, points):
    monkeypatch.setattr(clusters, "_VECTORS", 50 if points > 100 else 10_000)
    draw_clustering(tmp_path / "a.svg", stored(tmp_path))
    assert {marks.get_rasterized() for marks in drawn[0].axes[0].collections} == {points > 100}


def test_lines_by_layer_differ_in_mark_and_dash_and_are_named_at_their_ends(tmp_path, drawn):
    sweep = [stored(tmp_path, layer=layer, seeds=(0, 1)) for layer in (1, 2, 3)]
    draw_layer_agreement(tmp_path / "a.png", [sweep, sweep[:2]], "ari", "ARI")
    assert len(drawn[0].axes) == 2
    axes = drawn[0].axes[0]
    curves = [container.lines[0] for container in axes.containers]
    assert len({(line.get_marker(), line.get_linestyle()) for line in curves}) == 3
    assert curves[0].get_ydata().tolist() == pytest.approx([1, 1, 1])
    assert [text.get_text() for text in axes.texts] == ["emotion", "speaker", "silhouette of clusters"]


def test_cells_hold_share_and_count_and_dark_ones_white_letters(tmp_path, drawn):
    draw_confusion(tmp_path / "a.png", [[9, 1], [0, 0]], ("anger", "fear"), "title")
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in axes.texts] == ["90%\n9", "10%\n1", "-", "-"]
    assert [text.get_color() for text in axes.texts] == ["white", "black", "black", "black"]
    assert axes.get_yticklabels()[0].get_text() == "anger\n10"
    with pytest.raises(PlotError, match="does not fit 3 classes"):
        draw_confusion(tmp_path / "a.png", [[1]], ("a", "b", "c"), "title")


@pytest.mark.parametrize(
    ("classes", "rotation"),
    [(("anger", "happiness"), 0), (("anger", "happiness or surprise"), 90)],
)
def test_names_longer_than_a_cell_stand_upright_and_a_long_title_is_broken(
    tmp_path, drawn, classes, rotation
):
    title = "emovo, whisper-base\nsplit leave one speaker out, UA 48.0±3.2, counts over 3 seeds"
    draw_confusion(tmp_path / "a.png", [[9, 1], [0, 4]], classes, title)
    (figure,) = drawn
    assert {label.get_rotation() for label in figure.axes[0].get_xticklabels()} == {rotation}
    figure.draw_without_rendering()
    room = figure.bbox
    for text in (figure._suptitle, *figure.axes[0].get_xticklabels(), *figure.axes[0].get_yticklabels()):
        box = text.get_window_extent()
        assert box.x0 >= room.x0
        assert box.x1 <= room.x1
        assert box.y0 >= room.y0


def test_labels_are_kept_apart_in_their_order_and_no_farther_than_needed():
    assert apart([0.0, 5.0, 0.1], 1.0).tolist() == pytest.approx([-0.45, 5.0, 0.55])
    assert apart([3.0, 1.0, 2.0], 0.5).tolist() == [3.0, 1.0, 2.0]
    assert apart([1.0, 1.0, 1.0], 2.0).tolist() == pytest.approx([-1.0, 1.0, 3.0])
    assert apart([], 1.0).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_labels_that_push_each_other_never_overlap(seed):
    heights = np.random.default_rng(seed).normal(size=12)
    placed = apart(heights.tolist(), 0.4)
    assert (np.diff(np.sort(placed)) >= 0.4 - 1e-9).all()
    assert (np.argsort(placed) == np.argsort(heights)).all()


def test_there_are_more_shapes_than_emotions():
    from ser_cache.manifest import CANONICAL_EMOTIONS

    assert len(set(MARKERS)) >= len(CANONICAL_EMOTIONS)
