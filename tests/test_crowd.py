"""Votes as cells, and what follows from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_cache.crowd import agreement, format_votes, read_votes, share, winners
from ser_cache.errors import ManifestError

EMOTIONS = ("anger", "neutral", "sadness", "mild surprise")
VOTES = st.dictionaries(st.sampled_from(EMOTIONS), st.integers(0, 99)).filter(
    lambda votes: any(votes.values())
)


@given(VOTES)
def test_votes_survive_a_cell(votes):
    assert read_votes(format_votes(votes)) == {emotion: count for emotion, count in votes.items() if count}


@given(VOTES)
def test_winner_agreement_and_share_are_what_counting_by_hand_gives(votes):
    ballots = [emotion for emotion, count in votes.items() for _ in range(count)]
    most = max(ballots.count(emotion) for emotion in ballots)
    assert set(winners(votes)) == {emotion for emotion in ballots if ballots.count(emotion) == most}
    assert agreement(votes) == most / len(ballots)
    for emotion in EMOTIONS:
        assert share(votes, emotion) == ballots.count(emotion) / len(ballots)


def test_a_tie_names_all_its_winners_in_order():
    assert winners({"anger": 5, "neutral": 1, "sadness": 5}) == ("anger", "sadness")


def test_nobody_voted_and_nobody_won():
    assert read_votes("") == {}
    assert winners({}) == winners({"anger": 0}) == ()


@pytest.mark.parametrize(
    "cell", ["anger", "anger:x", "anger:-1", "anger: 2", "anger:1 anger:2", ":3", "a:b:3"]
)
def test_a_cell_of_another_form_is_an_error_that_shows_the_form(cell):
    with pytest.raises(ManifestError, match="anger:6 disgust:2"):
        read_votes(cell)
