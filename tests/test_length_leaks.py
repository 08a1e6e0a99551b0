"""Lengths that give emotions away are found; lengths as they are recorded are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from ser_cache.length_leaks import describe_leak, leak_warnings, length_leaks
from ser_cache.manifest import Manifest, Utterance

EMODB = {
    "anger": 127,
    "boredom": 81,
    "disgust": 46,
    "fear": 69,
    "happiness": 71,
    "neutral": 79,
    "sadness": 62,
}
EMOTIONS = tuple(EMODB)


def made(lengths: list[tuple[str, int]]) -> Manifest:
    """A manifest of (emotion, samples)."""
    return Manifest(
        "made",
        tuple(
            Utterance(f"u{n:05d}", f"u{n:05d}.wav", f"s{n % 10}", emotion, emotion, "de", samples, "0" * 64)
            for n, (emotion, samples) in enumerate(lengths)
        ),
    )


def recorded(generator: np.random.Generator, emotions: list[str], grid: int = 1) -> list[tuple[str, int]]:
    """Lengths around 2.5 s, rounded to a grid; sad speech is slower."""
    return [
        (emotion, int(generator.normal(40_000 + 8_000 * (emotion == "sadness"), 8_000)) // grid * grid)
        for emotion in emotions
    ]


def test_the_copy_of_emodb_with_clips_of_two_seconds_is_caught():
    lengths = recorded(np.random.default_rng(0), [e for e, count in EMODB.items() for _ in range(count)])
    for emotion, clips in (("boredom", 60), ("fear", 37), ("disgust", 35)):
        of_it = [place for place, (one, _) in enumerate(lengths) if one == emotion]
        for place in of_it[:clips]:
            lengths[place] = (emotion, 32_000)
    manifest = made(lengths)
    (leak,) = length_leaks(manifest)
    assert (leak.samples, leak.clips) == (32_000, 132)
    assert leak.emotions == (("disgust", 35, 46), ("boredom", 60, 81), ("fear", 37, 69))
    having = np.array([[sum(s == 32_000 and e == one for e, s in lengths) for one in EMOTIONS]])
    table = np.concatenate([having, np.array([list(EMODB.values())]) - having])
    assert leak.association == pytest.approx((chi2_contingency(table).statistic / 535) ** 0.5)
    said = describe_leak(leak, manifest)
    assert "132 of 535 clips are exactly 2.000 s, all of them in 3 of 7 emotions (disgust 35 of 46," in said


def test_the_warning_beside_a_score_is_one_line_that_points_to_the_audit():
    lengths = recorded(np.random.default_rng(0), ["anger"] * 60) + [("fear", 32_000)] * 40
    (line,) = leak_warnings(made(lengths))
    assert line == (
        "40 of 100 clips are exactly 2.000 s, all of them in fear: length alone tells these, so scores may "
        "be too good; see: ser audit --corpus made"
    )


def test_where_every_clip_is_cut_to_that_length_it_gives_nothing_away():
    lengths = [("anger", 40_000 + n) for n in range(60)] + [("fear", 32_000)] * 40
    assert len(leak_warnings(made(lengths))) == 1
    assert leak_warnings(made(lengths), max_seconds=2.0) == ()
    assert len(leak_warnings(made(lengths), max_seconds=2.2)) == 1


@pytest.mark.parametrize("grid", [1, 533, 4_000], ids=["to the sample", "video frames", "quarter seconds"])
def test_lengths_as_recorded_are_no_leak(grid):
    for seed in range(20):
        generator = np.random.default_rng(seed)
        emotions = generator.choice(EMOTIONS, 600).tolist()
        assert length_leaks(made(recorded(generator, emotions, grid))) == ()


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_a_length_that_every_emotion_has_alike_is_no_leak(share):
    generator = np.random.default_rng(0)
    lengths = [
        (emotion, 32_000 if generator.random() < share else samples)
        for emotion, samples in recorded(generator, EMOTIONS * 60)
    ]
    assert length_leaks(made(lengths)) == ()


def test_two_lengths_that_leak_are_both_found_the_more_common_first():
    lengths = recorded(np.random.default_rng(0), list(EMOTIONS * 40))
    lengths += [("anger", 16_000)] * 60 + [("fear", 48_000)] * 80
    assert [leak.samples for leak in length_leaks(made(lengths))] == [48_000, 16_000]


def test_one_emotion_alone_has_nothing_to_give_away():
    assert length_leaks(made([("anger", 32_000)] * 100 + [("anger", 31_000)] * 100)) == ()


@given(
    st.lists(
        st.tuples(st.sampled_from(EMOTIONS), st.sampled_from([16_000, 32_000, 48_000])),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_is_reported_is_common_and_counted_rightly(lengths):
    for leak in length_leaks(made(lengths)):
        assert (
            leak.clips
            == sum(samples == leak.samples for _, samples in lengths)
            >= max(10, 0.05 * len(lengths))
        )
        assert 0.5 <= leak.association <= 1 + 1e-9
        for emotion, having, count in leak.emotions:
            assert having == lengths.count((emotion, leak.samples))
            assert having / count > leak.clips / len(lengths)
