"""Figures: drawn in every format, without a window, and refused in one line where matplotlib is absent."""

import sys

import numpy as np
import pytest

from ser_cache.errors import PlotError
from ser_cache.layer_analysis import LayerScores, LayerWeights
from ser_cache.plots import FORMATS, canvas, check_plot, draw_layers

RAW = np.array([0.5, 0.3, 0.2])
WEIGHTS = LayerWeights("xls-r", "multilayer", "dasaro2024", "speaker", (1, 2, 3), ("emovo",), RAW, RAW[::-1])
ONLY_RAW = LayerWeights("mfcc", "superb", "superb", "loso", (0, 1, 2), ("emovo",), RAW, None)
STARTS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


def scores(corpus="emovo", backbone="xls-r", std=0.02, **changes):
    values = {"head": "linear", "protocol": "dasaro2024", "split": "speaker"} | changes
    mean = np.array([0.3, 0.5, 0.4])
    return LayerScores(corpus, backbone, layers=(0, 1, 2), mean=mean, std=np.full(3, std), **values)


@pytest.fixture
def figure_class():
    return pytest.importorskip("matplotlib.figure").Figure


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_drawn(tmp_path, suffix, figure_class):
    path = tmp_path / "new" / f"layers{suffix}"
    draw_layers(path, [WEIGHTS, ONLY_RAW], [scores(), scores(std=np.nan, backbone="b"), scores("emodb")])
    assert path.read_bytes().startswith(STARTS[suffix])


@pytest.fixture
def drawn(monkeypatch, figure_class):
    """Every figure that is drawn while a test runs."""
    figures = []

    class Kept(figure_class):
        def savefig(self, *_args, **_kwargs):
            figures.append(self)

    monkeypatch.setattr(canvas, "figure_class", lambda: Kept)
    return figures


def test_the_map_is_grey_with_each_row_on_its_own_scale(tmp_path, drawn):
    draw_layers(tmp_path / "a.png", [WEIGHTS, ONLY_RAW])
    raw, rescaled, bar = drawn[0].axes
    assert bar.get_ylabel() == "of the row's largest"
    grid = raw.images[0].get_array()
    assert raw.images[0].get_cmap().name == "Greys"
    assert np.asarray(grid[0, 1:]) == pytest.approx(
        RAW / 0.5
    )  # columns are layers 0 to 3, of which 0 is not its
    assert np.asarray(grid[1, :3]) == pytest.approx(RAW / 0.5)
    assert np.asarray(rescaled.images[0].get_array()[0, 1:]) == pytest.approx(RAW[::-1] / 0.5)
    assert np.ma.getmaskarray(np.ma.masked_invalid(rescaled.images[0].get_array()[1])).all()
    written = {text.get_position(): text.get_text() for text in raw.texts}
    for place, share in zip(WEIGHTS.layers, RAW, strict=True):
        assert written[place, 0] == f"{100 * share:.0f}"
    assert {line for _, line in (text.get_position() for text in rescaled.texts)} == {0}
    names = [label.get_text().split("\n")[0] for label in raw.get_yticklabels()]
    assert names == ["xls-r, multilayer, dasaro2024, speaker", "mfcc, superb, superb, loso"]


def test_curves_have_a_band_of_one_deviation_where_there_are_seeds(tmp_path, drawn):
    draw_layers(
        tmp_path / "a.png", scores=[scores(), scores(backbone="one-seed", std=np.nan), scores("emodb")]
    )
    emovo, emodb = drawn[0].axes
    assert (emovo.get_title(), emodb.get_title()) == ("emovo", "emodb")
    assert [line.get_ydata().tolist() for line in emovo.lines] == [pytest.approx([30, 50, 40])] * 2
    assert len(emovo.collections) == 1
    low, high = emovo.collections[0].get_paths()[0].get_extents().intervaly
    assert (low, high) == pytest.approx((28, 52))
    assert [text.get_text() for text in emovo.get_legend().get_texts()] == ["xls-r", "one-seed"]
    assert emovo.get_ylabel() == "macro F1, percent"


def test_curves_can_be_told_apart_without_colour(tmp_path, drawn):
    draw_layers(tmp_path / "a.png", scores=[scores(backbone=f"b{number}") for number in range(16)])
    lines = drawn[0].axes[0].lines
    assert len({(line.get_marker(), str(line._dash_pattern)) for line in lines}) == 16


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PlotError, match="pip install matplotlib"):
        check_plot(tmp_path / "a.png")


def test_a_suffix_that_is_no_format_is_refused_before_anything_is_drawn(tmp_path):
    with pytest.raises(PlotError, match=r"layers\.gif does not end in \.png, \.pdf, \.svg"):
        check_plot(tmp_path / "layers.gif")


def test_nothing_to_draw_is_said(tmp_path, figure_class):
    with pytest.raises(PlotError, match="neither"):
        draw_layers(tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
