"""A baseline that is interrupted: what is kept, and when it is searched for again."""

import pytest
from small_baselines import chosen, corpus

from ser_cache.baselines import baseline, kept, one_run
from ser_cache.baselines.grid_search import search_grid
from ser_cache.results import read_run


@pytest.mark.usefixtures("small_grids")
def test_an_interruption_leaves_finished_runs_and_nothing_half(tmp_path):
    features, manifest = corpus()

    def press(progress):
        if progress.what.startswith("svm"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        baseline(features, manifest, chosen("knn", "svm", jobs=2), tmp_path, press)
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("toy-whisper-small-knn-")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.usefixtures("small_grids")
def test_finished_folds_of_an_interrupted_run_are_not_searched_again(force, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "WORTH_KEEPING", 0.0)
    features, manifest = corpus()
    options = chosen("svm", force=force)

    def press(progress):
        if progress.what == "svm, fold 2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        baseline(features, manifest, options, tmp_path / "a", press)
    searched = []
    monkeypatch.setattr(one_run, "search_grid", lambda *a: searched.append(1) or search_grid(*a))
    seen = []
    (gone_on,) = baseline(features, manifest, options, tmp_path / "a", seen.append)
    assert len(searched) == 1
    assert seen[-1].done == seen[-1].total
    assert [path.name for path in (tmp_path / "a").iterdir()] == [gone_on.folder.name]
    (undisturbed,) = baseline(features, manifest, options, tmp_path / "b")
    for file in ("predictions.csv", "grid_search.json", "log.csv", "metrics.json"):
        assert (gone_on.folder / file).read_bytes() == (undisturbed.folder / file).read_bytes()


@pytest.mark.usefixtures("small_grids")
def test_quick_folds_are_kept_when_together_they_are_worth_it(tmp_path):
    config = read_run(baseline(*corpus(), chosen("knn"), tmp_path)[0].folder).config
    place = kept.KeptSearches(tmp_path, config, {})
    for number in range(3):
        place.save(number, {"seconds": 0.4 * kept.WORTH_KEEPING})
    assert [place.load(number) is not None for number in range(4)] == [True, True, True, False]


@pytest.mark.usefixtures("small_grids")
def test_what_a_kill_left_of_a_run_that_is_whole_is_removed_when_it_is_used_again(tmp_path):
    (made,) = baseline(*corpus(), chosen("knn"), tmp_path)
    left = kept.KeptSearches(tmp_path, read_run(made.folder).config, {})
    left.save(0, {"seconds": 9.0})
    assert left.folder.is_dir()
    (again,) = baseline(*corpus(), chosen("knn"), tmp_path)
    assert again.reused
    assert not left.folder.exists()


@pytest.mark.parametrize("change", ["code", "content"])
@pytest.mark.usefixtures("small_grids")
def test_folds_that_would_be_made_otherwise_now_are_searched_again(change, tmp_path, monkeypatch):
    config = read_run(baseline(*corpus(), chosen("knn"), tmp_path)[0].folder).config
    place = kept.KeptSearches(tmp_path, config, {"numpy": "2"})
    place.save(0, {"seconds": 5.0, "best": 1})
    assert place.load(0) == {"seconds": 5.0, "best": 1}
    assert place.load(1) is None
    if change == "code":
        monkeypatch.setattr(kept, "source_digest", lambda: "as it was before a change")
        place = kept.KeptSearches(tmp_path, config, {"numpy": "2"})
    else:
        file = place.folder / "0000.json"
        file.write_text(file.read_text().replace('"best": 1', '"best": 2'))
    assert place.load(0) is None
