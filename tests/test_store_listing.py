"""What a cache holds, what it lacks or refuses, and the command that says so or mends it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_parts import (
    SAMPLES,
    WIDTH,
    features,
    fingerprint,
    folder_in,
    full_part,
    make_part,
    mixed_part,
    row,
    utterance,
)

from ser_cache.errors import CacheError, StaleCacheError
from ser_cache.store import PartWriter, create_part, open_features, open_part, part_paths, summaries
from ser_cache.store.commands import remake_of


def test_parts_that_disagree_are_refused(tmp_path):
    folder = folder_in(tmp_path)
    full_part(folder, number=0)
    full_part(folder, number=1, fingerprint=fingerprint(context="full"))
    with pytest.raises(StaleCacheError, match="context: cache 'audio', asked 'full'"):
        open_features(folder, [utterance("u00")])
    assert "disagree" in summaries(tmp_path)[0].damaged


def test_missing_utterances_are_counted_and_the_command_is_named(tmp_path):
    folder = tmp_path / "org--model+full" / "corpus"
    message = "run `ser extract --model org/model --corpus corpus --whisper-context full`"
    with pytest.raises(CacheError, match=f"holds no features: {message}"):
        open_features(folder, [utterance("a")])
    part = make_part(folder, [row("a", 1), row("b", 1)])
    with PartWriter(part) as writer_:
        writer_.write(0, features(part, 0))
    wanted = [utterance(name) for name in "abc"]
    with pytest.raises(CacheError, match=f"is incomplete: 2 of 3 missing, {message}"):
        open_features(folder, wanted)
    assert len(open_features(folder, wanted[:1])) == 1


@pytest.mark.parametrize(
    ("backbone", "provenance", "command"),
    [
        ("tiny", {"model": "/models/tiny", "name": "tiny"}, "--model /models/tiny --corpus corpus`"),
        ("tiny", {"model": "my models/tiny", "name": "tiny"}, "--model 'my models/tiny' --corpus corpus`"),
        ("mine", {"model": "./tiny", "name": "mine"}, "--model ./tiny --name mine --corpus corpus`"),
        ("org--tiny", {"model": "org/tiny", "name": "org--tiny"}, "--model org/tiny --corpus corpus`"),
        (
            "xls-r+max6s",
            {"model": "xls-r", "name": "xls-r"},
            "--model xls-r --corpus corpus --max-seconds 6`",
        ),
        ("org--tiny", {}, "--model org/tiny --corpus corpus`"),
    ],
)
def test_an_incomplete_cache_names_the_model_as_the_user_gave_it(tmp_path, backbone, provenance, command):
    path = tmp_path / backbone / "corpus" / "part-0000.h5"
    create_part(path, fingerprint(), [row("a", 1)], WIDTH, provenance)
    with pytest.raises(CacheError) as caught:
        open_features(path.parent, [utterance("a")])
    assert str(caught.value).endswith(f"is incomplete: 1 of 1 missing, run `ser extract {command}.")


def test_other_audio_than_the_manifest_s_is_refused_and_both_hashes_are_shown(tmp_path):
    full_part(folder_in(tmp_path))
    with pytest.raises(
        StaleCacheError, match=r"'u00'.*cache 753030753030, manifest ffffffffffff.*ser extract"
    ):
        open_features(folder_in(tmp_path), [utterance("u00", "f" * 64)])


def test_the_same_file_decoded_to_another_length_is_refused_too(tmp_path):
    full_part(folder_in(tmp_path))
    other = replace(utterance("u00"), samples=SAMPLES + 1)
    with pytest.raises(StaleCacheError, match=r"'u00'.*samples at 16 kHz: cache 3200, manifest 3201"):
        open_features(folder_in(tmp_path), [other])


def test_a_run_on_other_features_is_refused(tmp_path):
    full_part(folder_in(tmp_path))
    with open_features(folder_in(tmp_path), [utterance("u00")]) as cached:
        cached.require(fingerprint())
        with pytest.raises(StaleCacheError, match="context: cache 'audio', asked 'full'"):
            cached.require(fingerprint(context="full"))


def test_a_summary_counts_every_state(tmp_path):
    part = mixed_part(folder_in(tmp_path), "abcde", frames=100)
    (summary,) = summaries(tmp_path)
    assert (summary.backbone, summary.corpus, summary.layers, summary.width) == (
        "model",
        "corpus",
        (0, 1, 2),
        3,
    )
    assert (summary.done, summary.failed, summary.pending, summary.total) == (1, 1, 2, 4)
    assert summary.bytes == part.path.stat().st_size
    assert summary.reserved == sum(size for row_ in (3, 4) for _, size in part.spans(row_))
    assert (summary.codec, summary.short) == ("fp16", part.fingerprint.short)
    assert summary.hours == pytest.approx(SAMPLES / 16_000 / 3600)
    assert not summary.complete
    assert summary.damaged == ""


@pytest.mark.parametrize("storage", [{}, {"codec": "int8"}, {"tier": "pooled"}, {"layers": (2,)}])
@pytest.mark.parametrize("rows", [(), (0,), (1, 3), (0, 1, 2, 3)])
def test_the_size_of_rows_is_that_of_their_spans(tmp_path, storage, rows):
    frames = (4, 1, 7, 2)
    part = full_part(folder_in(tmp_path), frames, fingerprint=fingerprint(**storage))
    chosen = np.isin(np.arange(len(frames)), rows)
    assert part.size_of(chosen) == sum(size for row_ in rows for _, size in part.spans(row_))


def test_an_empty_or_absent_cache_has_no_summaries(tmp_path):
    assert summaries(tmp_path / "nowhere") == []
    (tmp_path / "model" / "corpus").mkdir(parents=True)
    assert summaries(tmp_path) == []


def test_a_damaged_part_shows_in_its_summary(tmp_path):
    part = full_part(folder_in(tmp_path))
    part.path.write_bytes(part.path.read_bytes()[:5000])
    (summary,) = summaries(tmp_path)
    assert "part-0000.h5 has 5000 bytes where" in summary.damaged
    assert not summary.complete
    with pytest.raises(CacheError, match="restore it from a copy, or run `ser cache repair`"):
        open_part(part_paths(part.path.parent)[0])


@pytest.mark.parametrize(
    ("folder", "options"),
    [
        ("xls-r", ""),
        ("xls-r+full+raw+max2.5s", " --whisper-context full --normalise no --max-seconds 2.5"),
        (
            "xls-r+norm+compute-bf16+int8+avg4",
            " --normalise yes --precision bf16 --codec int8 --frame-average 4",
        ),
        ("xls-r+pooled+layers0.3-5", " --tier pooled --layers 0,3-5"),
        ("xls-r+fp32+unheard-of", None),
    ],
)
def test_the_command_that_makes_a_folder_has_its_options(tmp_path, folder, options):
    said = remake_of(tmp_path / folder / "emovo", []).command()
    if options is None:
        assert said.endswith("--corpus emovo` with the options it was made with (+fp32+unheard-of)")
    else:
        assert said == f"`ser extract --model xls-r --corpus emovo{options}`"
