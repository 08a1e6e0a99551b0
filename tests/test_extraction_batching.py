from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ser_cache.extraction.batching import batches

lengths = st.lists(st.integers(0, 500), max_size=60)


@given(lengths, st.integers(1, 2000))
def test_every_utterance_that_can_run_is_in_one_batch(padded, limit):
    members = [place for batch in batches(padded, limit) for place in batch]
    assert sorted(members) == [place for place, length in enumerate(padded) if length]


@given(lengths, st.integers(1, 2000))
def test_a_batch_holds_its_limit_of_padded_audio_or_one_utterance(padded, limit):
    for batch in batches(padded, limit):
        assert len(batch) == 1 or len(batch) * max(padded[place] for place in batch) <= limit


@given(lengths, st.integers(1, 2000))
def test_the_longest_come_first_and_like_lengths_together(padded, limit):
    grouped = batches(padded, limit)
    for longer, shorter in pairwise(grouped):
        assert min(padded[place] for place in longer) >= max(padded[place] for place in shorter)


def test_equal_lengths_keep_the_order_of_the_part():
    assert batches([5, 5, 5, 5, 5], 10) == [(4,), (2, 3), (0, 1)]
