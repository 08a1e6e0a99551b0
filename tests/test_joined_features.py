"""Features of several corpora as one: the same numbers, whichever corpus they are asked through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_features import Digest, Features, utterances
from small_grid import cache_features, manifest, save_manifest

from ser_cache.errors import StaleCacheError
from ser_cache.joined_features import JoinedFeatures
from ser_cache.store import open_features

SIZES = {"a": 2, "a-b": 3, "c": 1}


def made_up(corpus: str, speakers: int) -> Features:
    features = Features(utterances(speakers), noise=1 + speakers, failed={"s0-fear-0": "it is empty"})
    features.corpus = corpus
    return features


MEMBERS = [made_up(corpus, speakers) for corpus, speakers in SIZES.items()]
JOINED = JoinedFeatures(MEMBERS)
PLACES = [(member, place) for member in MEMBERS for place in range(len(member.ids))]


def test_ids_are_told_apart_by_corpus_and_failures_with_them():
    assert len(set(JOINED.ids)) == sum(len(member.ids) for member in MEMBERS)
    assert JOINED.ids == tuple(f"{member.corpus}/{member.ids[place]}" for member, place in PLACES)
    assert set(JOINED.failed) == {f"{corpus}/s0-fear-0" for corpus in SIZES}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, len(PLACES) - 1), min_size=1), st.permutations([0, 1, 2]))
def test_every_utterance_has_the_features_its_corpus_gives(indices, layers):
    chosen = np.array(indices)
    means = JOINED.means(chosen, layers)
    for number, index in enumerate(indices):
        member, place = PLACES[index]
        np.testing.assert_array_equal(JOINED.hidden(index, layers), member.hidden(place, layers))
        np.testing.assert_array_equal(means[:, number], member.means(np.array([place]), layers)[:, 0])
        np.testing.assert_array_equal(JOINED.group_sizes(index), member.group_sizes(place))
        assert JOINED.frames[index] == member.frames[place]
    for layer in layers:
        np.testing.assert_array_equal(JOINED.mean(layer)[chosen], JOINED.means(chosen, [layer])[0])


def test_nothing_is_copied_where_a_corpus_gives_views(tmp_path):
    with _joined(tmp_path, "fp16") as (members, joined):
        assert joined.hidden(1).base is not None
        assert not joined.hidden(len(members[0].ids)).flags.writeable


@pytest.mark.parametrize("codec", ["fp16", "int8"])
def test_a_batch_over_corpora_is_packed_in_its_order(tmp_path, codec):
    with _joined(tmp_path, codec) as (members, joined):
        count = len(members[0].ids)
        batch = np.array([count + 2, 0, count, 5, 0])
        expected = np.concatenate([joined.hidden(int(index), (0, 2)) for index in batch], axis=1)
        np.testing.assert_array_equal(joined.packed(batch, (0, 2)), expected)
        out = np.empty_like(expected)
        assert joined.packed(batch, (0, 2), out) is out
        np.testing.assert_array_equal(out, expected)
        alone = np.array([count + 1, count])
        np.testing.assert_array_equal(joined.packed(alone, (1,)), members[1].packed(alone - count, (1,)))
        joined.announce(batch, (0,))


def _joined(folder, codec):
    from contextlib import contextmanager

    @contextmanager
    def opened():
        manifests = [save_manifest(folder / "manifests", manifest(name)) for name in ("one", "two")]
        for made in manifests:
            cache_features(folder / "cache", "model", made, layers=(0, 1, 2), codec=codec)
        members = [open_features(folder / "cache" / "model" / m.corpus, m.utterances) for m in manifests]
        yield members, JoinedFeatures(members)
        for member in members:
            member.close()

    return opened()


def test_features_that_were_made_differently_are_not_joined(tmp_path):
    manifests = [save_manifest(tmp_path / "manifests", manifest(name)) for name in ("one", "two")]
    for made, layers in zip(manifests, ((0, 1, 2), (0, 1)), strict=True):
        cache_features(tmp_path / "cache", "model", made, layers=layers)
    members = [open_features(tmp_path / "cache" / "model" / m.corpus, m.utterances) for m in manifests]
    with pytest.raises(StaleCacheError) as caught:
        JoinedFeatures(members)
    assert "one and two under model were made differently (layers: one [0, 1, 2], two [0, 1])" in str(
        caught.value
    )


def test_another_fingerprint_or_backbone_is_refused():
    one, other = made_up("a", 1), made_up("b", 1)
    other.fingerprint = Digest("b" * 64)
    with pytest.raises(StaleCacheError, match="their fingerprints differ"):
        JoinedFeatures([one, other])
    other = made_up("b", 1)
    other.backbone = "whisper-base"
    with pytest.raises(StaleCacheError, match="backbone whisper-small and whisper-base"):
        JoinedFeatures([one, other])
