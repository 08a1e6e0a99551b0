"""Wang, Raud, Pal 2023: the figures as handed over, and what follows from them by arithmetic."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layered_runs import save_run

from ser_cache.backbones.registry import BACKBONES
from ser_cache.corpora import CORPORA
from ser_cache.manifest import Manifest
from ser_cache.official import ready_manifest
from ser_cache.reproduction.wang2023 import (
    ABSENT,
    AUDIO,
    BY_UTTERANCE,
    NEW_SPEAKERS,
    Report,
    StudyOptions,
    held_out,
    planned,
    published,
)
from ser_cache.reproduction.wang2023.contradictions import contradictions
from ser_cache.reproduction.wang2023.corpus_tables import agreements, shares
from ser_cache.reproduction.wang2023.planning import plan_table
from ser_cache.reproduction.wang2023.running import study_split
from ser_cache.reproduction.wang2023.study import CLASSIFIERS, MEASURES

REFERENCE = Path(__file__).resolve().parents[1] / "ser_cache" / "reference"
STUDY = published()
ALIASES = {spec.hub_id: alias for alias, spec in BACKBONES.items()}


@pytest.fixture(scope="module")
def ready() -> Manifest:
    return ready_manifest("cremad")


def lines(found) -> list[tuple[str, str, str]]:
    return [(one.about, one.one.text, one.other.text) for one in found]


# The published figures


def test_the_figures_are_those_that_were_handed_over(shared: Path) -> None:
    paths = sorted((shared / "reference").glob("wang2023_*.csv"))
    assert len(paths) == 2
    for path in paths:
        assert path.read_bytes() == (REFERENCE / path.name).read_bytes()


def test_every_class_of_both_tables_is_there() -> None:
    for name in CLASSIFIERS:
        assert [row.emotion for row in STUDY.classifiers[name].classes] == sorted(STUDY.clips)
    svm = {row.emotion: row for row in STUDY.classifiers["svm"].classes}
    assert [getattr(svm["sadness"], measure) for measure in MEASURES] == [0.46, 0.60, 0.52, 381]
    assert STUDY.models[2].hub_id == "facebook/wav2vec2-xls-r-300m"
    assert STUDY.models[2].f1 == 0.7932
    assert {model.hub_id for model in STUDY.models} <= ALIASES.keys()


def test_the_clips_are_those_of_the_corpus(ready: Manifest) -> None:
    assert STUDY.classified == sum(STUDY.clips.values()) == len(ready)
    for one in STUDY.classifiers.values():
        assert one.tested == round(STUDY.test_share * STUDY.classified)


def test_every_f1_is_the_harmonic_mean_of_its_precision_and_recall() -> None:
    for one in STUDY.classifiers.values():
        for row in one.classes:
            low, high = (
                2 * (row.precision + off) * (row.recall + off) / (row.precision + row.recall + 2 * off)
                for off in (-0.005, 0.005)
            )
            assert low - 0.005 <= row.f1 <= high + 0.005


# What they imply


@pytest.mark.parametrize(
    ("name", "accuracy", "macro_f1", "best", "mean"),
    [("rf", 0.413, 0.392, 0.45, 0.431), ("svm", 0.451, 0.440, 0.478, 0.456)],
)
def test_the_tables_imply_less_than_the_text_says(
    name: str, accuracy: float, macro_f1: float, best: float, mean: float
) -> None:
    one = STUDY.classifiers[name]
    assert round(one.accuracy, 3) == accuracy
    assert round(one.macro_f1, 3) == macro_f1
    assert (one.best_accuracy, one.best_fold, one.fold_mean) == (best, best, mean)


def test_the_contradictions_are_these(ready: Manifest) -> None:
    assert lines(contradictions(STUDY, ready, study_split(0))) == [
        ("clips", "7,332 clustered", "7,442 classified"),
        ("random forest: accuracy", "0.450 best, in text", "0.413 recall x support"),
        ("random forest: CV", "0.450 best CV fold, text", "0.431 mean of CV folds"),
        ("SVM: accuracy", "0.478 best, in text", "0.451 recall x support"),
        ("SVM: CV", "0.478 best CV fold, text", "0.456 mean of CV folds"),
        ("tested: happiness", "390 random forest", "382 SVM"),
        ("clips off their share", "8.6 random forest, unstratified", "0.6 SVM, stratified"),
        ("speakers", "91 tested", "91 of them trained on"),
    ]


def test_figures_that_agree_are_no_contradiction(ready: Manifest) -> None:
    svm = STUDY.classifiers["svm"]
    honest = replace(svm, best_accuracy=0.451, best_fold=0.478)
    twin = replace(honest, name="rf")
    study = replace(STUDY, clustered=7442, classifiers={"rf": twin, "svm": honest})
    assert lines(contradictions(study, ready, study_split(0))) == [
        ("speakers", "91 tested", "91 of them trained on")
    ]
    assert contradictions(study, ready, held_out("speaker", 0)) == []


@pytest.mark.parametrize(("accuracy", "contradicts"), [(0.455, False), (0.456, True), (0.445, True)])
def test_what_rounding_explains_is_no_contradiction(
    ready: Manifest, accuracy: float, contradicts: bool
) -> None:
    svm = replace(STUDY.classifiers["svm"], best_accuracy=accuracy)
    study = replace(STUDY, classifiers={"svm": svm})
    found = contradictions(study, ready, study_split(0))
    assert ("SVM: accuracy" in [one.about for one in found]) == contradicts


def test_a_stratified_draw_is_less_than_a_clip_off_its_share() -> None:
    rng = np.random.default_rng(0)
    clips = STUDY.clips
    svm = STUDY.classifiers["svm"]
    exact = tuple(replace(row, support=round(0.3 * clips[row.emotion])) for row in svm.classes)
    assert replace(svm, classes=exact).distance_from_shares(clips) < 1
    everyone = np.repeat(sorted(clips), [clips[emotion] for emotion in sorted(clips)])
    drawn = rng.choice(everyone, svm.tested, replace=False)
    at_random = tuple(replace(row, support=int((drawn == row.emotion).sum())) for row in svm.classes)
    assert replace(svm, classes=at_random).distance_from_shares(clips) > 1


# What needs no audio


def test_agreement_is_the_published_one_cut_off(ready: Manifest) -> None:
    found = {row.emotion: row for row in agreements(ready, STUDY.agreement)}
    assert len(found) == len(ready.emotions)
    assert (found["anger"].published, found["sadness"].published) == (0.684, 0.619)
    assert all(0 <= row.difference < 0.001 for row in found.values())


def test_every_clip_is_counted_once_in_each_table(ready: Manifest) -> None:
    found = shares(ready)
    for column in ("sex", "race", "ethnicity", "age", "level"):
        clips = [sum(share.clips.values()) for share in found if share.column == column]
        assert sum(clips) == 7442
        assert len(clips) > 1
    assert found[-1].clips == CORPORA["cremad"].expected
    assert found[-1].speakers == 91


def test_without_any_run_the_report_is_whole(tmp_path: Path) -> None:
    options = StudyOptions()
    report = Report(options, [planned("cremad", None, ABSENT, options, set())], ALIASES, tmp_path)
    assert report.results() == []
    titles = [section.title for section in report.sections()]
    assert titles[-1] == "The study's corpus is not here; how to get it"
    assert len(titles) == len(set(titles)) == 7
    assert all(record.corpus == "cremad" for record in report.records())
    for section in report.sections():
        widths = [max(map(len, column)) for column in zip(section.columns, *section.rows, strict=True)]
        assert sum(widths) + 2 * (len(widths) - 1) <= 80, section.title


def test_the_best_probe_of_a_fine_tuned_checkpoint_stands_beside_it(tmp_path: Path) -> None:
    options = StudyOptions()
    report = Report(options, [], ALIASES, tmp_path)
    for backbone, head, right in (
        ("xls-r", "linear", 3),
        ("xls-r+int8", "multilayer", 8),
        ("facebook--wav2vec2-base-960h", "linear", 5),
        ("whisper-small", "linear", 9),
    ):
        save_run(tmp_path, "cremad", backbone, head, right={0: right})
    save_run(tmp_path, "emovo", "xls-r", "nonlinear", right={0: 9})
    (section,) = [one for one in report.closing() if one.title == "Not reproduced here"]
    heads = {row[0]: row[4] for row in section.rows}
    assert {name: head for name, head in heads.items() if head} == {
        "xls-r": "multilayer",
        "wav2vec2-base-960h": "linear",
    }
    told = {one["alias"]: one.get("best_here", "") for one in report.as_data()["not_reproduced"]}
    assert told["xls-r"].startswith("cremad-xls-r+int8-multilayer-")
    assert told["voxpopuli-100k"] == ""


def test_the_whole_corpus_is_not_said_to_be_a_part(ready: Manifest) -> None:
    options = StudyOptions()
    for manifest, is_part in ((ready, False), (replace(ready, utterances=ready.utterances[1:]), True)):
        section = plan_table([planned("cremad", manifest, AUDIO, options, set())], options)
        assert any("is not the whole" in note for note in section.notes) == is_part


# How it is run


def test_the_study_is_followed_as_the_baseline_of_its_name() -> None:
    options = StudyOptions(seeds=(0, 1), split_seed=3)
    followed = options.baseline(BY_UTTERANCE)
    assert (followed.protocol.name, followed.split.kind, followed.split.seed) == ("wang2023", "random", 3)
    ours = replace(options, held_out=held_out("speaker", 3)).baseline(NEW_SPEAKERS)
    assert (ours.protocol.name, ours.split.kind, ours.split.seed) == ("classical", "speaker", 3)
    assert ours.split.ratios == followed.split.ratios
    assert replace(options, held_out=None).parts == ("clusters", BY_UTTERANCE)


def test_an_import_is_light() -> None:
    code = (
        "import sys, ser_cache.reproduction.wang2023;"
        "print({'torch', 'transformers', 'matplotlib', 'sklearn', 'librosa'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
