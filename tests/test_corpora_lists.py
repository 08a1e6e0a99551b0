"""Recipes against whole lists of real names: labels, speakers, numbers, and no name of another corpus."""

import csv
import unicodedata
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest
from name_trees import tree

from ser_cache.corpora import CORPORA, Fields, recognised_by
from ser_cache.published import study_named

LISTED = ("aesdd", "cafe", "demos", "oreau", "shemo")
WITHOUT_RECIPE = ("emozionalmente", "savee", "subesco", "tess")
WITH_METADATA = ("emodb", "emovo", "ravdess")
SHEMO = {"angry": "A", "fearful": "F", "happy": "H", "neutral": "N", "sad": "S", "surprised": "W"}


def rows(shared: Path, corpus: str) -> list[dict[str, str]]:
    path = shared / "reference" / "file_lists" / f"{corpus}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names(shared: Path, corpus: str) -> list[str]:
    if corpus not in WITH_METADATA:
        return [row["file"] for row in rows(shared, corpus)]
    with (shared / "data" / corpus / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return [row["path"] for row in csv.DictReader(file)]


def code(corpus: str, row: dict[str, str]) -> str:
    """The corpus's own code, from what the list has instead."""
    if corpus == "shemo":
        return SHEMO[row["emotion_original"]]
    return row["emotion_original"].upper() if corpus == "cafe" else row["emotion_original"]


@pytest.fixture(scope="module", params=LISTED)
def listed(shared, tmp_path_factory, request):
    """A corpus, the rows of its list, and the scan of a folder of empty files with those names."""
    corpus = request.param
    found = rows(shared, corpus)
    root = tree(tmp_path_factory.mktemp(corpus), *(row["file"] for row in found))
    return corpus, found, CORPORA[corpus].scan(root)


def test_every_listed_file_is_found_and_nothing_else(listed):
    _, found, scan = listed
    assert sorted(clip.path for clip in scan.found) == sorted(row["file"] for row in found)
    assert scan.unrecognised == scan.left_out == ()


def test_every_listed_label_and_speaker_is_read_as_it_is_there(listed):
    corpus, found, scan = listed
    fields = {clip.path: clip.fields for clip in scan.found}
    for row in found:
        read = fields[row["file"]]
        if corpus == "demos":
            assert CORPORA[corpus].labels[read.code] == row["emotion"]
            assert read.gender == row["gender"]
            typical = {"PR": "yes", "NP": "no"}.get(row["prototypicality"])
            assert dict(read.extra).get("prototypical") == typical
        else:
            assert read.code == code(corpus, row)
        # The list keeps the 0 of AESDD's five (01), which is speaker 1.
        assert read.speaker == (row["speaker"].lstrip("0") if corpus == "aesdd" else row["speaker"])


def test_the_folders_of_the_list_agree_with_the_names(listed):
    corpus, _, scan = listed
    for clip in scan.found:
        folders, fields = PurePosixPath(clip.path).parts[:-1], clip.fields
        emotion = CORPORA[corpus].labels[fields.code]
        if corpus == "aesdd":
            assert folders == (emotion,)
        elif corpus == "shemo":
            assert folders == (fields.gender,)
        elif corpus == "oreau":
            assert folders[-2:] == (fields.gender[0], f"sess{fields.code.lower()}")
        elif corpus == "demos":
            assert folders[-1] == ("NEU" if emotion == "neutral" else "DEMOS")
        else:
            strength = {"mild": ("Faible",), "strong": ("Fort",), "": ()}[fields.intensity]
            assert folders[2:] == strength
            assert folders[1][0] == fields.code


def test_the_numbers_of_the_list_are_the_recipes(listed):
    corpus, _, scan = listed
    recipe = CORPORA[corpus]
    counts = Counter(recipe.labels[clip.fields.code] for clip in scan.found)
    assert len({clip.fields.speaker for clip in scan.found}) == recipe.speakers
    if corpus == "shemo":
        assert recipe.edition_of(sum(counts.values())) is not None
        assert all(0 < counts[emotion] <= number for emotion, number in recipe.expected.items())
        assert counts["fear"] == 29
    else:
        assert counts == recipe.expected


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "repair",
    [lambda path: path, lambda path: path.encode("cp1252").decode("cp850")],
    ids=["as is", "repaired"],
)
def test_cafe_is_read_alike_with_its_accents_repaired_or_not(shared, tmp_path, repair, form):
    listed = names(shared, "cafe")
    written = [unicodedata.normalize(form, repair(path)) for path in listed]
    assert any("Colère/" in unicodedata.normalize("NFC", path) for path in written) == (
        repair(listed[0]) != listed[0]
    )
    recipe = CORPORA["cafe"]
    found = {clip.path: clip.fields for clip in recipe.scan(tree(tmp_path, *written)).found}
    assert [found[path] for path in written] == [recipe.parse(PurePosixPath(path)) for path in listed]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_oreau_is_read_alike_with_its_accent_in_one_character_or_two(shared, tmp_path, form):
    listed = names(shared, "oreau")
    written = [unicodedata.normalize(form, path) for path in listed]
    scan = CORPORA["oreau"].scan(tree(tmp_path, *written))
    assert len(scan.found) == len(listed) == CORPORA["oreau"].utterances


@pytest.mark.parametrize("listing", LISTED + WITHOUT_RECIPE + WITH_METADATA)
def test_no_recipe_claims_a_file_of_another_list(shared, listing):
    paths = [PurePosixPath(name) for name in names(shared, listing)]
    claimed = {
        corpus: sum(isinstance(recipe.parse(path), Fields) for path in paths)
        for corpus, recipe in CORPORA.items()
    }
    assert {corpus: number for corpus, number in claimed.items() if number} == (
        {} if listing in WITHOUT_RECIPE else {listing: len(paths)}
    )


def test_each_recipe_finds_its_own_in_a_folder_that_holds_them_all(shared, tmp_path):
    lists = {listing: names(shared, listing)[::40] for listing in LISTED + WITHOUT_RECIPE + WITH_METADATA}
    for listing, paths in lists.items():
        tree(tmp_path / f"corpus of {listing}", *paths)
    for corpus in LISTED + WITH_METADATA:
        found = {clip.path for clip in CORPORA[corpus].scan(tmp_path).found}
        assert found == {f"corpus of {corpus}/{path}" for path in lists[corpus]}
    assert recognised_by(tmp_path) == dict(
        sorted(
            ((corpus, len(lists[corpus])) for corpus in LISTED + WITH_METADATA),
            key=lambda item: (-item[1], item[0]),
        )
    )


def test_without_folders_only_what_emodb_could_have_of_oreau_is_in_doubt(shared):
    flat = {listing: [PurePosixPath(name).name for name in names(shared, listing)] for listing in LISTED}
    flat |= {
        listing: [PurePosixPath(name).name for name in names(shared, listing)] for listing in WITH_METADATA
    }
    claims = {
        (corpus, listing): sum(
            isinstance(CORPORA[corpus].parse(PurePosixPath(name)), Fields) for name in found
        )
        for corpus in CORPORA
        for listing, found in flat.items()
    }
    assert {pair: number for pair, number in claims.items() if number and pair[0] != pair[1]} == {
        ("emodb", "oreau"): 20
    }
    assert claims["oreau", "oreau"] == len(flat["oreau"]) - 20
    assert len(set(flat["oreau"]) & {name.replace(".flac", ".wav") for name in flat["emodb"]}) == 4


# What the explanations of Table 1 and the warts say


def test_aesdds_first_five_speakers_have_504_of_604_files(shared):
    fields = [CORPORA["aesdd"].parse(PurePosixPath(name)) for name in names(shared, "aesdd")]
    first = [clip for clip in fields if clip.speaker != "6"]
    assert (len(fields), len(first), len(fields) - len(first)) == (604, 504, 100)
    # Not once all of the 500 of the design: four are missing.
    assert len({(clip.speaker, clip.code, clip.sentence) for clip in first}) == 496
    for number in ("5 actors with 20", "604 files, 504 of", "(100 clips)"):
        assert number in study_named("dasaro2024").corpora["aesdd"].explanation


def test_aesdd_lacks_the_one_file_that_others_could_not_read_and_is_met_without_its_sixth_speaker(shared):
    listed = {PurePosixPath(name).stem for name in names(shared, "aesdd")}
    assert "s05 (3)" not in listed
    assert {f"s05 ({speaker})" for speaker in (1, 2, 4, 5, 6)} <= listed
    sizes = {edition.utterances for edition in CORPORA["aesdd"].editions}
    assert sizes == {sum("(6)" not in stem for stem in listed), len(listed) + 1}


def test_the_speaker_01_of_aesdd_has_the_very_sentences_that_1_lacks(shared):
    files = [PurePosixPath(name).stem for name in names(shared, "aesdd")]
    padded = [stem for stem in files if "(01)" in stem]
    assert len(padded) == 5
    assert not {stem.replace("(01)", "(1)") for stem in padded} & set(files)


def test_demos_has_9365_clips_without_neutral_and_1564_prototypical_ones(shared):
    found = rows(shared, "demos")
    sizes = {edition.utterances for edition in CORPORA["demos"].editions}
    assert sizes == {
        sum(row["emotion"] != "neutral" for row in found),
        sum(row["prototypicality"] == "PR" for row in found),
    }
    speakers = {int(row["speaker"]) for row in found}
    assert set(range(1, 70)) - speakers == {35}


def test_shemos_list_has_121_clips_at_another_rate_and_lengths_up_to_33_seconds(shared):
    found = rows(shared, "shemo")
    assert sum(row["sample_rate"] == "22050" for row in found) == 121
    lengths = [float(row["duration_s"]) for row in found]
    assert (round(min(lengths), 1), round(max(lengths))) == (0.4, 33)
