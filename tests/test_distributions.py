"""Tables of a corpus by a naive count, and CREMA-D's beside what was published of it."""

import math
from collections import Counter
from fractions import Fraction
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_cache.corpora.cremad import MODALITIES
from ser_cache.description import Description, as_data, as_rows, sections
from ser_cache.distributions import (
    ALL,
    UNSTATED,
    age_band,
    by_column,
    crowd,
    distributions,
    lengths,
    modalities,
)
from ser_cache.errors import ManifestError
from ser_cache.manifest import Manifest, Utterance
from ser_cache.official import ready_manifest
from ser_cache.published import CROWDS


def corpus(*cells: dict[str, str], name: str = "mine", samples: int = 16_000) -> Manifest:
    """Utterances 0, 1, 2 ... with these columns; others are filled in."""
    made = []
    for number, cell in enumerate(cells):
        extra = tuple(sorted((key, text) for key, text in cell.items() if key.endswith("_votes")))
        known = {key: text for key, text in cell.items() if not key.endswith("_votes")}
        filled = {"speaker": "s1", "emotion": "anger", "code": "", "language": "en", **known}
        made.append(
            Utterance(
                id=f"{number:04}",
                path=f"{number:04}.wav",
                samples=samples * (number + 1),
                sha256="0" * 64,
                extra=extra,
                **filled,
            )
        )
    return Manifest(name, tuple(made))


@pytest.fixture(scope="module")
def cremad() -> Manifest:
    return ready_manifest("cremad")


# Any corpus


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["anger", "fear"]), st.sampled_from(["", "x", "y"])),
        min_size=1,
    )
)
def test_groups_add_up_to_a_naive_count(drawn):
    made = corpus(*({"speaker": s, "emotion": e, "sentence": t} for s, e, t in drawn))
    groups = by_column(made, "sentence").groups
    assert {group.name: dict(group.counts) for group in groups} == {
        text or UNSTATED: {e: sum(d[1:] == (e, text) for d in drawn) for e in made.emotions}
        for text in {text for _, _, text in drawn}
    }
    for group in groups:
        text = "" if group.name == UNSTATED else group.name
        assert group.speakers == len({s for s, _, t in drawn if t == text})
    assert math.isclose(sum(group.hours for group in groups), made.hours)
    assert sum(group.utterances for group in groups) == len(drawn)


def test_lengths_are_those_of_each_emotion_and_of_all():
    rows = lengths(corpus({}, {"emotion": "fear", "speaker": "s2"}, {}, {}))
    assert [(row.emotion, row.utterances, row.speakers) for row in rows] == [
        ("anger", 3, 1),
        ("fear", 1, 1),
        (ALL, 4, 2),
    ]
    anger, _, both = rows
    assert (anger.shortest, anger.median, anger.longest) == (1.0, 3.0, 4.0)
    assert math.isclose(anger.mean, 8 / 3)
    assert both.hours == 10 / 3600


def test_columns_that_say_nothing_have_no_table():
    made = corpus({"gender": "female", "intensity": "low"}, {"gender": "female", "intensity": "low"})
    assert [one.column for one in distributions(made)] == ["gender"]


def test_unstated_values_are_counted_last():
    made = corpus({"age": "71"}, {"age": ""}, {"age": "9"}, {"age": "about 30"}, {"age": "20"})
    assert [group.name for group in by_column(made, "age").groups] == [
        "0-9",
        "20-29",
        "70-79",
        "about 30",
        UNSTATED,
    ]


@pytest.mark.parametrize(
    ("age", "years", "band"),
    [
        ("20", 10, "20-29"),
        ("29", 10, "20-29"),
        ("7", 5, "5-9"),
        ("33", 1, "33"),
        ("", 10, ""),
        ("x", 10, "x"),
    ],
)
def test_ages_fall_into_bands(age, years, band):
    assert age_band(age, years) == band


def test_intensities_are_ordered_by_strength():
    made = corpus(*({"intensity": level} for level in ("strong", "high", "low", "normal", "other")))
    assert [group.name for group in by_column(made, "intensity").groups] == [
        "low",
        "normal",
        "strong",
        "high",
        "other",
    ]


# Votes


def test_a_corpus_without_votes_has_no_crowd():
    assert crowd(corpus({}, {})) == ()


def test_votes_are_averaged_over_clips_and_ties_are_no_wins():
    rows = crowd(
        corpus(
            {"voice_votes": "anger:3 fear:1"},
            {"voice_votes": "anger:2 fear:2"},
            {"voice_votes": ""},
            {"voice_votes": "fear:5", "emotion": "fear"},
        )
    )
    anger = next(row for row in rows if row.emotion == "anger")
    assert (anger.rated, anger.ratings, anger.chosen) == (2, 8, 5)
    assert (anger.agreement, anger.intended, anger.won, anger.tied) == (0.625, 0.625, 0.5, 0.5)
    assert {row.modality for row in rows} == {"voice"}  # one modality needs no column for all


def test_a_rating_of_two_modalities_is_joined_clip_by_clip():
    made = corpus({"voice_votes": "anger:1", "zoom_votes": "fear:4", "face_votes": "anger:1 fear:1"})
    assert modalities(made) == ("voice", "face", "zoom")
    joined = next(row for row in crowd(made) if (row.modality, row.emotion) == (ALL, ALL))
    assert (joined.rated, joined.ratings) == (3, 7)
    assert joined.agreement == fmean([1, 1, 0.5])


def test_votes_that_cannot_be_read_name_the_utterance():
    with pytest.raises(ManifestError, match=r"utterance '0001'.*'many'"):
        crowd(corpus({"voice_votes": "anger:1"}, {"voice_votes": "many"}))


# CREMA-D


def test_the_tables_of_cremad_are_the_corpus_s_own_counts(cremad):
    made = {one.column: one for one in distributions(cremad)}
    assert list(made) == ["gender", "age", "race", "ethnicity", "intensity", "sentence"]
    assert {g.name: g.speakers for g in made["gender"].groups} == {"female": 43, "male": 48}
    assert {g.name: g.speakers for g in made["race"].groups} == {
        "African American": 22,
        "Asian": 7,
        "Caucasian": 61,
        "Unknown": 1,
    }
    assert {g.name: g.speakers for g in made["ethnicity"].groups} == {"Hispanic": 10, "Not Hispanic": 81}
    assert {g.name: g.utterances for g in made["intensity"].groups} == {
        "unspecified": 6077,
        "low": 455,
        "medium": 455,
        "high": 455,
    }
    assert len(made["sentence"].groups) == 12
    assert sum(g.speakers for g in made["age"].groups) == 91
    assert {row.emotion: row.utterances for row in lengths(cremad)} == {
        **dict.fromkeys(("anger", "disgust", "fear", "happiness", "sadness"), 1271),
        "neutral": 1087,
        ALL: 7442,
    }


def test_the_published_agreement_is_ours_over_all_modalities_cut_off_after_three_digits(cremad):
    published = CROWDS["cremad"]().agreement
    assert published == {
        "anger": 0.684,
        "disgust": 0.638,
        "fear": 0.637,
        "happiness": 0.792,
        "neutral": 0.763,
        "sadness": 0.619,
    }
    ours = {row.emotion: row.agreement for row in crowd(cremad) if row.modality == ALL}
    assert {emotion: math.floor(1000 * ours[emotion]) / 1000 for emotion in published} == published


def test_agreement_is_the_mean_over_every_clip_and_modality_counted_exactly(cremad):
    shares: dict[str, list[Fraction]] = {}
    for utterance in cremad.utterances:
        cells = dict(utterance.extra)
        for modality in MODALITIES:
            counts = [int(vote.split(":")[1]) for vote in cells[f"{modality}_votes"].split()]
            shares.setdefault(utterance.emotion, []).append(Fraction(max(counts), sum(counts)))
    ours = {row.emotion: row.agreement for row in crowd(cremad) if row.modality == ALL}
    for emotion, exact in shares.items():
        assert math.isclose(ours[emotion], sum(exact) / len(exact), rel_tol=1e-12)


def test_no_other_way_to_count_gives_the_published_agreement(cremad):
    """Cut or rounded: one modality alone, every vote alike, by the winning emotion, without ties."""
    published = CROWDS["cremad"]().agreement
    ways: dict[str, dict[str, list[tuple[int, int]]]] = {}
    for utterance in cremad.utterances:
        cells = dict(utterance.extra)
        for modality in MODALITIES:
            counts = Counter(
                {e: int(n) for e, n in (v.split(":") for v in cells[f"{modality}_votes"].split())}
            )
            vote, pair = cells[f"{modality}_vote"], (max(counts.values()), counts.total())
            intended = (counts[utterance.emotion], counts.total())
            ways.setdefault(modality, {}).setdefault(utterance.emotion, []).append(pair)
            ways.setdefault("winner", {}).setdefault(vote, []).append(pair)
            ways.setdefault("intended", {}).setdefault(utterance.emotion, []).append(intended)
            if ":" not in vote:
                ways.setdefault("no ties", {}).setdefault(utterance.emotion, []).append(pair)
            ways.setdefault("votes", {}).setdefault(utterance.emotion, []).append(pair)
    for name, pairs in ways.items():
        for emotion, figure in published.items():
            given = pairs[emotion]
            mean = (
                sum(most for most, _ in given) / sum(all_ for _, all_ in given)
                if name == "votes"
                else fmean(most / all_ for most, all_ in given)
            )
            if figure not in (math.floor(1000 * mean) / 1000, round(mean, 3)):
                break
        else:
            pytest.fail(f"counted by {name} the figures agree as well")


def test_the_relation_to_published_figures_is_worked_out_and_not_written_down(cremad):
    few = Manifest("cremad", cremad.utterances[::7])
    table = next(one for one in sections(Description(few)) if one.title.startswith("Crowd agreement"))
    assert "these are other clips or votes" in table.notes[-1]
    table = next(one for one in sections(Description(cremad)) if one.title.startswith("Crowd agreement"))
    assert "cut off after three digits" in table.notes[-1]
    mine = Manifest("mine", few.utterances)
    assert all("published" not in one.columns for one in sections(Description(mine)))


def test_rows_and_data_hold_the_same_numbers(cremad):
    description = Description(Manifest("cremad", cremad.utterances[::50]))
    rows = {row[1:5]: row[5] for row in as_rows(description)}
    data = as_data(description)
    assert len(rows) == len(as_rows(description))
    for column, groups in data["distributions"].items():
        for group in groups:
            for emotion, count in group["counts"].items():
                assert rows[column, group["name"], emotion, "utterances"] == count
    for row in data["crowd"]:
        assert rows["crowd_votes", row["modality"], row["emotion"], "agreement"] == row["agreement"]


@pytest.mark.parametrize("emotions", [("anger", "fear"), ("anger", "anguish", "angst", *"abcdefgh")])
def test_headings_tell_emotions_apart(emotions):
    made = corpus(*({"emotion": emotion, "gender": "female"} for emotion in emotions))
    gender = next(one for one in sections(Description(made)) if one.title.endswith("gender"))
    assert len(gender.columns) == 3 + len(emotions)


def test_of_many_sentences_the_table_shows_some_and_says_so():
    made = corpus(*({"sentence": f"{number:03}"} for number in range(60)))
    table = next(one for one in sections(Description(made)) if one.title.endswith("sentence"))
    assert len(table.rows) == 24
    assert "36 more" in table.notes[-1]
