"""The beam search against traces worked by hand, and what must hold whatever the scores are."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_cache.errors import TrainingError
from ser_cache.learning_rate_search import UNLIKE, RateSearchOptions, search_learning_rate

PUBLISHED = 1.25e-4  # Wang et al. 2023, XLS-R


def scripted(*rounds):
    """Evaluates by a script: one dictionary of scores by rate a round."""
    left = list(rounds)

    def evaluate(rates, epochs):
        assert set(rates) == set(left[0]), f"the trace expects {left[0]}"
        scores = left.pop(0)
        return [scores[rate] for rate in rates]

    return evaluate


def tried(result):
    return [(r.epochs, r.rates) for r in result.rounds]


def test_the_published_rate_is_found_with_the_step_halved():
    # Round 1:  5 epochs, 1e-5 1e-4 1e-3:                 1e-4 is best with .60.
    # Round 2: 10 epochs, 1e-4 -+ .5 x 1e-4:              1e-4 is best with .70 > .60: go on from there.
    # Round 3: 15 epochs, 1e-4 -+ .25 x 1e-4:             1.25e-4 is best with .75 > .70.
    # Round 4: 20 epochs, 1.25e-4 -+ .125 x 1e-4:         .74 at best, not above .75: stop, 1.25e-4 it is.
    result = search_learning_rate(
        scripted(
            {1e-5: 0.40, 1e-4: 0.60, 1e-3: 0.50},
            {5e-5: 0.65, 1e-4: 0.70, 1.5e-4: 0.69},
            {7.5e-5: 0.71, 1e-4: 0.72, 1.25e-4: 0.75},
            {1.125e-4: 0.74, 1.25e-4: 0.74, 1.375e-4: 0.73},
        )
    )
    assert (result.rate, result.epochs, result.score) == (PUBLISHED, 15, 0.75)
    assert [r.epochs for r in result.rounds] == [5, 10, 15, 20]


def test_the_step_stays_as_it_is_when_asked_for_as_printed():
    # The scores of the first two rounds above; the third round steps by .5 x 1e-4 again.
    result = search_learning_rate(
        scripted(
            {1e-5: 0.40, 1e-4: 0.60, 1e-3: 0.50},
            {5e-5: 0.65, 1e-4: 0.70, 1.5e-4: 0.71},
            {1e-4: 0.72, 1.5e-4: 0.73, 2e-4: 0.75},
            {1.5e-4: 0.70, 2e-4: 0.70, 2.5e-4: 0.70},
        ),
        RateSearchOptions(as_printed=True),
    )
    assert (result.rate, result.epochs) == (2e-4, 15)


def reachable(options):
    """Every rate that some scores lead to, by taking each rate of each round for the best one."""
    found = set()
    for choice in itertools.product(range(3), repeat=options.max_rounds):
        wanted = iter(choice)

        def evaluate(rates, epochs, wanted=wanted):
            place = min(next(wanted), len(rates) - 1)
            return [epochs + (number == place) for number in range(len(rates))]

        result = search_learning_rate(evaluate, options)
        found.update(rate for r in result.rounds for rate in r.rates)
    return found


def test_only_a_halved_step_can_reach_the_published_rate():
    assert PUBLISHED in reachable(RateSearchOptions(max_rounds=3))
    assert PUBLISHED not in reachable(RateSearchOptions(max_rounds=6, as_printed=True))


def test_a_low_best_rate_keeps_its_lower_neighbour_above_a_tenth():
    # Round 1: 1e-5 is best. Round 2: 1e-5 - 5e-5 would be below zero; a tenth of the best is tried instead.
    # Round 3: 1e-6 is best; the step is 2.5e-5 now, and a tenth of the best is 1e-7.
    result = search_learning_rate(
        scripted(
            {1e-5: 0.6, 1e-4: 0.5, 1e-3: 0.4},
            {1e-6: 0.7, 1e-5: 0.6, 6e-5: 0.5},
            {1e-7: 0.1, 1e-6: 0.7, 2.6e-5: 0.2},
        )
    )
    assert (result.rate, result.epochs) == (1e-6, 10)
    assert tried(result)[-1] == (15, (1e-7, 1e-6, 2.6e-5))


def test_a_high_best_rate_is_searched_around():
    # Round 1: 1e-3 is best. Round 2: 1e-3 -+ 5e-5, nothing better: stop.
    result = search_learning_rate(
        scripted({1e-5: 0.1, 1e-4: 0.2, 1e-3: 0.9}, {9.5e-4: 0.9, 1e-3: 0.9, 1.05e-3: 0.9})
    )
    assert (result.rate, result.epochs, len(result.rounds)) == (1e-3, 5, 2)


def test_rates_that_diverge_lose():
    nan = math.nan
    result = search_learning_rate(
        scripted(
            {1e-5: 0.3, 1e-4: nan, 1e-3: math.inf},
            {1e-6: nan, 1e-5: 0.4, 6e-5: -math.inf},
            {1e-6: nan, 1e-5: nan, 3.5e-5: nan},
        )
    )
    assert (result.rate, result.epochs) == (1e-5, 10)
    assert "0.0001 diverged, 0.001 diverged" in result.notes[0]


def test_nothing_to_choose_from_is_an_error_that_names_the_rates():
    with pytest.raises(TrainingError, match=r"every learning rate .* 1e-05 diverged, 0\.0001 diverged"):
        search_learning_rate(lambda rates, epochs: [math.nan] * len(rates))


def test_equal_scores_keep_the_rate_that_is_there():
    result = search_learning_rate(lambda rates, epochs: [epochs] * len(rates))
    assert {r.rates[len(r.rates) // 2] for r in result.rounds} == {1e-4}
    assert (result.rate, result.epochs) == (1e-4, 30)


def test_the_log_tells_every_round_and_that_lengths_differ():
    heard = []
    result = search_learning_rate(
        scripted({1e-5: 0.4, 1e-4: 0.6, 1e-3: 0.5}, {5e-5: 0.1, 1e-4: 0.6, 1.5e-4: 0.2}),
        on_round=heard.append,
    )
    assert result.notes == (
        "round 1, 5 epochs: 1e-05 scored 0.4000, 0.0001 scored 0.6000, 0.001 scored 0.5000",
        "round 2, 10 epochs: 5e-05 scored 0.1000, 0.0001 scored 0.6000, 0.00015 scored 0.2000",
        "stopped: 0.6000, of 0.0001 after 5 epochs, was not improved upon.",
        UNLIKE,
    )
    assert "not like for like" in UNLIKE
    assert tuple(heard) == result.notes


def test_a_single_round_has_nothing_unlike_to_compare():
    result = search_learning_rate(lambda rates, epochs: [0.1, 0.3, 0.2], RateSearchOptions(max_rounds=1))
    assert result.notes[-1] == "stopped at round 1, the last allowed."


def test_scores_that_do_not_fit_the_rates_are_refused():
    with pytest.raises(ValueError, match="2 scores for 3 learning rates"):
        search_learning_rate(lambda rates, epochs: [1.0, 2.0])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"start": 0.0}, "start from the learning rate 0"),
        ({"start": math.nan}, "start from the learning rate nan"),
        ({"factor": -0.5}, "step by -0.5"),
        ({"epochs": 0}, "6 rounds of 0 epochs"),
        ({"max_rounds": 0}, "0 rounds of 5 epochs"),
    ],
)
def test_impossible_options_get_one_line(options, says):
    with pytest.raises(TrainingError, match=says):
        search_learning_rate(lambda rates, epochs: [0.0] * len(rates), RateSearchOptions(**options))


SEARCHES = st.builds(
    RateSearchOptions,
    start=st.sampled_from([1e-4, 3e-4, 1e-3]),
    epochs=st.integers(1, 9),
    factor=st.floats(1e-9, 30),
    as_printed=st.booleans(),
    max_rounds=st.integers(1, 12),
)


@given(options=SEARCHES, seed=st.integers(0, 2**32), growth=st.sampled_from([0.0, 0.1, 1.0]))
def test_whatever_the_scores_the_search_keeps_its_promises(options, seed, growth):
    """Never a rate twice at the same length, none under a tenth of the best, an end, and the same again."""
    calls = []

    def scores(rates, epochs):
        calls.append((rates, epochs))
        drawn = [random.Random(f"{seed} {rate} {epochs}").uniform(-0.25, 1) for rate in rates]
        # Longer trainings score higher to some extent, or few searches would see a third round.
        return [number + growth * epochs if number >= 0 else math.nan for number in drawn]

    try:
        result = search_learning_rate(scores, options)
    except TrainingError:
        assert all(math.isnan(score) for score in scores(*calls[0]))
        return
    assert 1 <= len(calls) <= options.max_rounds
    assert calls == [(r.rates, r.epochs) for r in result.rounds]
    trained = [(rate, epochs) for rates, epochs in calls for rate in rates]
    assert len(trained) == len(set(trained))
    assert [epochs for _, epochs in calls] == [options.epochs * n for n in range(1, len(calls) + 1)]
    best, top = options.start, -math.inf
    for r in result.rounds:
        assert best in r.rates
        assert min(r.rates) >= best / 10 * (1 - 1e-9)
        assert list(r.rates) == sorted(set(r.rates))
        score, rate = max(
            (-math.inf if s != s else s, rate) for rate, s in zip(r.rates, r.scores, strict=True)
        )
        if score > top:
            best, top = rate, score
        else:
            assert r is result.rounds[-1]
    assert (result.rate, result.score) == (best, top)
    again = search_learning_rate(scores, options)
    assert repr(again) == repr(result)  # repr, because nan differs from itself
