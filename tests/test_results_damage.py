"""Runs that are damaged, cut, changed or newer: one line, before anybody believes them."""

import hashlib
import json

import numpy as np
import pytest
from small_runs import as_earlier_version
from written_runs import SPLITS, config, models, write

from ser_cache.errors import ResultsError
from ser_cache.results import (
    checked_path,
    find,
    read_fingerprint,
    read_layer_weights,
    read_predictions,
    read_run,
    read_training_sides,
    write_run,
)
from ser_cache.results.contents import FILES, FINGERPRINT, LAYER_WEIGHTS, SEARCH, STANDARDISATION
from ser_cache.results.detail import read_training_log

KINDS_OF_FILES = sorted([*FILES, FINGERPRINT, LAYER_WEIGHTS, SEARCH, STANDARDISATION])


def write_everything(runs):
    """A run with every kind of file."""
    moments = {"s0/mean": np.zeros((2, 3)), "s0/deviation": np.arange(6.0).reshape(2, 3)}
    return write_run(runs, config(), SPLITS, models(), {}, {"found": 1}, {"made": 1}, moments)


def cut(path):
    """Keep the first six tenths of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])


def changed(name, change):
    """Damage that changes what is in a JSON file."""

    def damage(folder):
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "metrics.json").unlink(), "metrics.json is missing"),
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda f: (f / "metrics.json").write_text('{"pooled": {'), "metrics.json is not valid JSON"),
        (lambda f: (f / "metrics.json").write_bytes(b"\xff\xfe"), "metrics.json is not valid JSON"),
        (lambda f: (f / "metrics.json").write_text('{"pooled": {}}'), "metrics.json is not complete"),
        (lambda f: (f / "environment.json").write_text("[]"), "environment.json is not a JSON object"),
        (lambda f: (f / "config.json").write_text('{"schema": 1}'), "config.json lacks 'corpus'"),
        (changed("config.json", lambda c: c.update(seeds="01")), "config.json lacks"),
        (changed("config.json", lambda c: c.update(data=[])), "config.json lacks"),
        (changed("config.json", lambda c: c["protocol"].pop("name")), "config.json lacks 'name'"),
        (changed("metrics.json", lambda m: m["pooled"]["mean"].pop("ua")), "metrics.json is not complete"),
        (changed("metrics.json", lambda m: m.update(interval=[])), "metrics.json is not complete"),
        (changed("metrics.json", lambda m: m["interval"].update(ua=[0.5])), "metrics.json is not complete"),
        (changed("metrics.json", lambda m: m["interval"].update(ua="ab")), "metrics.json is not complete"),
        (changed("metrics.json", lambda m: m["per_class"].pop()), "metrics.json is not complete"),
        (changed("metrics.json", lambda m: m["confusion"][1].pop()), "metrics.json is not complete"),
        (changed("metrics.json", lambda m: m.update(folds=[0])), "metrics.json is not complete"),
        (lambda f: (f / "files.json").write_text("[]"), "files.json is not a JSON object"),
        (lambda f: (f / "files.json").write_text('{"files": {"a": 1}}'), "files.json is not complete"),
        (lambda f: (f / "config.json").write_text("{}"), "no schema number"),
        (lambda f: (f / "config.json").write_text('{"schema": 2}'), "newer version (schema 2, ours 1)"),
    ],
)
def test_a_damaged_or_newer_run_gets_one_line(tmp_path, damage, says):
    """Of an earlier version, so that it is the content which must show the damage."""
    folder = as_earlier_version(write(tmp_path)).folder
    damage(folder)
    for look in (lambda: read_run(folder), lambda: find(tmp_path, config())):
        with pytest.raises(ResultsError) as caught:
            look()
        assert says in str(caught.value)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [cut, lambda path: path.unlink()], ids=["cut", "missing"])
@pytest.mark.parametrize("name", KINDS_OF_FILES)
def test_a_file_that_is_cut_or_missing_is_found_before_a_run_is_reused(tmp_path, name, damage):
    folder = write_everything(tmp_path).folder
    damage(folder / name)
    for look in (lambda: read_run(folder), lambda: find(tmp_path, config())):
        with pytest.raises(ResultsError) as caught:
            look()
        assert name in str(caught.value)
        assert "repeat it with --force" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("config.json", lambda run: read_run(run.folder)),
        ("metrics.json", lambda run: read_run(run.folder)),
        ("environment.json", lambda run: read_run(run.folder)),
        ("splits.json", read_training_sides),
        ("fingerprint.json", read_fingerprint),
        ("layer_weights.json", read_layer_weights),
        ("log.csv", read_training_log),
        ("predictions.csv", lambda run: list(read_predictions(run))),
        ("weights.safetensors", lambda run: checked_path(run, "weights.safetensors")),
        ("standardisation.safetensors", lambda run: checked_path(run, "standardisation.safetensors")),
    ],
)
def test_whoever_reads_a_file_learns_that_a_digit_of_it_has_changed(tmp_path, name, read):
    run = write_everything(tmp_path)
    read(run)
    path = run.folder / name
    content = bytearray(path.read_bytes())
    places = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    place = places[-1]
    content[place] = ord("7") if content[place] != ord("7") else ord("8")
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=f"{name} is not what was written"):
        read(run)


def test_every_file_of_a_run_is_listed_with_its_size_and_hash(tmp_path):
    folder = write_everything(tmp_path).folder
    listed = json.loads((folder / "files.json").read_text())["files"]
    assert listed == {
        path.name: {
            "bytes": len(path.read_bytes()),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in folder.iterdir()
        if path.name != "files.json"
    }
    assert sorted(listed) == KINDS_OF_FILES


def test_a_damaged_run_is_replaced_by_a_repeated_one(tmp_path):
    cut(write(tmp_path).folder / "weights.safetensors")
    assert read_run(write(tmp_path).folder).config == config()


def test_runs_of_earlier_versions_are_read_as_they_were(tmp_path):
    run = as_earlier_version(write_everything(tmp_path))
    assert read_run(run.folder) == run
    assert find(tmp_path, config()).state == "good"
    assert len(list(read_predictions(run))) == 36
    assert read_fingerprint(run) == {"made": 1}


def zeros(path):
    path.write_bytes(path.read_bytes()[:300] + bytes(200_000))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p: p.write_text("".join(p.read_text().splitlines(True)[:20])), "19 rows, and its .* 36"),
        (lambda p: p.write_text(p.read_text()[:-30]), "line 37 is not complete"),
        (lambda p: p.write_bytes(p.read_bytes()[:300] + b"\xff\xfe" + p.read_bytes()[302:]), "not a table"),
        (zeros, "predictions.csv"),
        (lambda p: p.write_bytes(b""), "other columns"),
    ],
)
def test_damaged_predictions_of_an_earlier_version_get_one_line(tmp_path, damage, says):
    run = as_earlier_version(write(tmp_path))
    damage(run.folder / "predictions.csv")
    with pytest.raises(ResultsError, match=says) as caught:
        list(read_predictions(run))
    assert "\n" not in str(caught.value)


def test_a_damaged_neighbour_is_no_obstacle(tmp_path):
    folder = write(tmp_path).folder
    (folder / "metrics.json").unlink()
    assert find(tmp_path, config(seeds=(3,))).state == "absent"
