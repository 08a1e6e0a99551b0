"""A published grid redone: the figures as printed, an honest plan, and tables that never mix things up."""

import copy
import csv
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from layered_runs import save_run
from small_grid import cache_features, manifest

from ser_cache.backbones.registry import BACKBONES
from ser_cache.cli import ser
from ser_cache.corpora import CORPORA
from ser_cache.errors import UnknownNameError
from ser_cache.heads import head_kind
from ser_cache.protocols import protocol_named
from ser_cache.published import STUDIES, study_named
from ser_cache.reproduction import (
    ReproductionOptions,
    best_head_table,
    disagreement_table,
    head_table,
    layer_map,
    make_plan,
    plan_table,
    run_job,
)
from ser_cache.reproduction.columns import MIXING
from ser_cache.results import read_run, summarise
from ser_cache.sections import as_markdown
from ser_cache.splits import SplitOptions, split_config
from ser_cache.store import open_features

REFERENCE = Path(__file__).resolve().parents[1] / "ser_cache" / "reference"
STUDY = study_named("dasaro2024")


def plan(tmp_path, manifests=(), **options):
    return make_plan(
        STUDY,
        ReproductionOptions(**options),
        {made.corpus: made for made in manifests},
        tmp_path / "cache",
        tmp_path / "runs",
    )


def printed(section):
    return "\n".join([section.title, *(" ".join(row) for row in section.rows), *section.notes])


# The published figures


def test_every_cell_of_the_paper_is_there():
    assert STUDY.cells == 162
    assert set(STUDY.head_means) == {(b, h) for b in STUDY.backbones for h in STUDY.heads}
    assert set(STUDY.best) == {(c, b) for c in STUDY.corpora for b in STUDY.backbones}
    assert all(0 < value < 100 for value in (*STUDY.head_means.values(), *STUDY.best.values()))
    assert STUDY.best["oreau", "whisper-medium"] == 95.22
    assert STUDY.head_means["xls-r", "nonlinear"] == 5.86
    assert STUDY.corpora["shemo"].samples == 3000
    assert STUDY.best_head == {
        name: max(STUDY.heads, key=lambda head, name=name: STUDY.head_means[name, head])
        for name in STUDY.backbones
    }


def test_the_figures_are_those_that_were_handed_over(shared):
    for path in sorted(REFERENCE.glob("dasaro2024_table*.csv")):
        assert path.read_bytes() == (shared / "reference" / path.name).read_bytes()


def test_table_2_is_not_the_mean_of_table_3():
    with (REFERENCE / "dasaro2024_table3_best_head_f1.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    found = {row.backbone: (row.stated, round(row.mean, 2)) for row in STUDY.disagreements}
    assert found["wav2vec2-base"] == (53.42, 54.62)
    assert found["whisper-small"] == (60.87, 65.96)
    for column in rows[0]:
        if ":" in column:
            name, head = column.split(":")
            mean = fmean(float(row[column]) for row in rows)
            assert (name in found) == (abs(mean - STUDY.head_means[name, head]) > 0.01)
    assert "60.87 65.96 -5.09" in printed(disagreement_table(STUDY))
    agreeing = replace(STUDY, head_means=STUDY.head_means | {("whisper-small", "linear"): 65.96})
    assert "whisper-small" not in [row.backbone for row in agreeing.disagreements]


def test_backbones_are_those_of_the_registry():
    for name, spec in STUDY.backbones.items():
        assert (BACKBONES[name].hub_id, BACKBONES[name].layers) == (spec.hub_id, spec.layers)


@pytest.mark.parametrize("name", sorted(STUDY.corpora))
def test_every_corpus_has_a_recipe_and_its_number_an_explanation(name):
    corpus = STUDY.corpora[name]
    assert name in CORPORA
    assert corpus.explanation.endswith(".")
    assert corpus.choice == "" or corpus.choice.endswith(".")


def test_unknown_studies_are_named():
    with pytest.raises(UnknownNameError, match="dasaro2024"):
        study_named("dasaro2025")
    assert list(STUDIES) == ["dasaro2024"]


# The plan


def test_a_plan_tells_ready_from_unfinished_from_absent(tmp_path):
    emovo, emodb = manifest("emovo"), manifest("emodb")
    cache_features(tmp_path / "cache", "whisper-small", emovo)
    cache_features(tmp_path / "cache", "wav2vec2-base", emovo, finished=5)
    made = plan(tmp_path, [emovo, emodb])
    assert made.state["emovo", "whisper-small"] == "ready"
    assert made.state["emovo", "wav2vec2-base"] == "part"
    assert made.state["emovo", "xls-r"] == "-"
    assert made.state["emodb", "whisper-small"] == "-"
    assert made.state["demos", "xls-r"] == "no"
    assert [(job.manifest.corpus, job.column.folder, job.heads) for job in made.jobs] == [
        ("emovo", "whisper-small", ("linear", "nonlinear", "multilayer"))
    ]
    assert made.coverage == "3 of the 162 cells of dasaro2024 can run here"
    assert "36 utterances of 3 emotions here, 588 of 7 in the paper" in printed(plan_table(made))


def test_what_is_missing_comes_with_commands_that_parse(tmp_path):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-small", emovo)
    lines = plan(tmp_path, [emovo]).to_do(["--manifests", "m", "--cache", "my cache"])
    commands = [line.strip() for line in lines if line.strip().startswith("ser ")]
    assert len(commands) == 8 + 5
    for command in commands:
        words = shlex.split(command)
        command_ = copy.copy(ser.commands[words[1]])  # click keeps what it makes of --help in the command
        parsed = command_.make_context(words[1], words[2:]).params
        assert parsed["manifests"] == Path("m")
    whole = "\n".join(lines)
    assert "ser extract --model xls-r --corpus emovo --manifests m --cache 'my cache'" in whole
    assert "https://zenodo.org/record/2544829; licence: restricted" in whole
    assert "Berlin database of emotional speech" in whole  # from the recipe
    assert whole.count("not verified") == 2  # EmoMatchSpanishDB and EYASE
    assert "--whisper-context full" in lines[-1]
    assert "--model whisper-small --corpus emovo" not in whole


def test_a_grid_is_cut_to_what_was_asked_for(tmp_path):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-small", emovo)
    made = plan(
        tmp_path, [emovo], models=("openai/whisper-small", "xls-r"), corpora=("emovo",), heads=("linear",)
    )
    assert [column.folder for column in made.columns] == ["whisper-small", "xls-r"]
    assert [corpus.name for corpus in made.corpora] == ["emovo"]
    assert [job.heads for job in made.jobs] == [("linear",)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ("whisper-base",)}, "--also whisper-base"),
        ({"corpora": ("ravdess",)}, "unknown corpus 'ravdess'"),
        ({"heads": ("superb",)}, "unknown head 'superb'"),
        ({"also": ("whisper-base",)}, "unknown backbone .whisper-base.. See: ser cache ls"),
    ],
)
def test_names_that_the_study_lacks_are_refused(tmp_path, options, message):
    with pytest.raises(UnknownNameError, match=message):
        plan(tmp_path, **options)


def test_a_variant_stands_in_where_the_plain_folder_is_absent(tmp_path):
    emovo = manifest("emovo")
    hub = {"model": "whisper-small", "hub_id": "openai/whisper-small"}
    cache_features(tmp_path / "cache", "whisper-small+full", emovo, provenance=hub)
    made = plan(tmp_path, [emovo], models=("whisper-small",))
    assert made.columns[0].folder == "whisper-small+full"
    assert made.notes[0] == "whisper-small+full stands for whisper-small"
    assert "--whisper-context full" in made.notes[1]  # these are of context audio, whatever their name
    cache_features(tmp_path / "cache", "whisper-small", emovo)
    assert plan(tmp_path, [emovo], models=("whisper-small",)).columns[0].folder == "whisper-small"
    both = plan(tmp_path, [emovo], models=("whisper-small", "whisper-small+full"))
    assert [column.folder for column in both.columns] == ["whisper-small", "whisper-small+full"]


def test_time_means_alone_leave_heads_out(tmp_path):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-small", emovo, tier="pooled")
    made = plan(tmp_path, [emovo], models=("whisper-small",))
    assert made.jobs[0].heads == ("linear",)
    assert "left out: nonlinear, multilayer" in printed(plan_table(made))


# Never mixed up


@pytest.mark.parametrize(
    ("folder", "provenance"),
    [
        ("whisper-small+untrained", {"model": "whisper-small", "hub_id": "openai/whisper-small"}),
        ("whisper-small", {"model": "models/random-whisper-small", "hub_id": ""}),
        ("whisper-small", {"model": "models/Untrained-whisper-small/", "hub_id": ""}),
    ],
)
def test_an_untrained_model_is_labelled_and_never_compared(tmp_path, folder, provenance):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", folder, emovo, provenance=provenance)
    made = plan(tmp_path, [emovo], models=(folder,), heads=("linear",))
    label = f"{folder} (untrained)"
    run = summarise(save_run(tmp_path / "runs", backbone=folder, head="linear", layers=(12,)))
    results = {("emovo", folder, "linear"): run}
    for section in (head_table(made, results), best_head_table(made, results)):
        assert label in section.rows[0]
        assert section.rows[0][-2:] == ("n/a", "n/a")
    assert printed(plan_table(made)).count("untrained") >= 2


def test_a_local_folder_is_compared_but_said_to_be_one(tmp_path):
    emovo = manifest("emovo")
    local = {"model": "/home/random/whisper-small", "hub_id": ""}
    cache_features(tmp_path / "cache", "whisper-small", emovo, provenance=local)
    made = plan(tmp_path, [emovo], models=("whisper-small",))
    assert made.columns[0].doubt == ""
    assert "extracted from /home/random/whisper-small, not from openai/whisper-small" in printed(
        plan_table(made)
    )


def test_another_last_layer_is_not_compared(tmp_path):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-small", emovo, layers=(0, 1, 2))
    made = plan(tmp_path, [emovo], models=("whisper-small",))
    assert "the last layer cached of whisper-small is 2, that of whisper-small is 12" in made.columns[0].doubt


def test_a_mixing_head_over_some_of_the_layers_is_not_compared_and_the_others_are(tmp_path):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-small", emovo, layers=(6, 12))
    made = plan(tmp_path, [emovo], models=("whisper-small",))
    assert made.columns[0].doubt == ""
    assert "lacks 10 of the layers 1 to 12 (1-5, 7-11)" in printed(plan_table(made))
    results = {
        ("emovo", "whisper-small", head): summarise(
            save_run(tmp_path / "runs", backbone="whisper-small", head=head, layers=layers)
        )
        for head, layers in (("linear", (12,)), ("multilayer", (6, 12)))
    }
    linear, multilayer = head_table(made, results).rows
    assert "n/a" not in linear
    assert multilayer[-2:] == ("n/a", "n/a")


@pytest.mark.parametrize("layers", [tuple(range(13)), tuple(range(1, 13))])
def test_layer_0_is_not_missed_by_a_head_that_does_not_read_it(tmp_path, layers):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-small", emovo, layers=layers)
    (column,) = plan(tmp_path, [emovo], models=("whisper-small",)).columns
    assert [column.doubt_about(head) for head in STUDY.heads] == ["", "", ""]


def test_one_corpus_with_fewer_layers_is_enough_for_a_doubt(tmp_path):
    emovo, emodb = manifest("emovo"), manifest("emodb")
    cache_features(tmp_path / "cache", "whisper-small", emovo)
    cache_features(tmp_path / "cache", "whisper-small", emodb, layers=(*range(1, 4), *range(5, 13)))
    (column,) = plan(tmp_path, [emovo, emodb], models=("whisper-small",)).columns
    assert "lacks 1 of the layers 1 to 12 (4)" in column.doubt_about("multilayer")


def test_the_heads_that_mix_are_known():
    assert {head for head in STUDY.heads if head_kind(head).mixes} == set(MIXING)


@pytest.mark.parametrize(
    ("storage", "says"),
    [
        ({"codec": "int8"}, "stored in int8"),
        ({"frame_average": 4}, "stored as means of 4 frames"),
        ({"codec": "int8", "tier": "pooled"}, ""),
        ({}, ""),
    ],
)
def test_what_is_stored_with_a_loss_is_noted(tmp_path, storage, says):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-small", emovo, finished=0, **storage)
    notes = printed(plan_table(plan(tmp_path, [emovo], models=("whisper-small",))))
    assert says in notes
    assert ("stored" in notes) == bool(says)


def test_a_further_backbone_stands_beside_without_a_published_figure(tmp_path):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-base", emovo, layers=(0, 1, 2))
    made = plan(tmp_path, [emovo], also=("whisper-base",))
    assert made.coverage.endswith("and 3 of backbones that it does not have")
    run = summarise(save_run(tmp_path / "runs", backbone="whisper-base", head="linear", layers=(2,)))
    results = {("emovo", "whisper-base", "linear"): run}
    assert head_table(made, results).rows[0][-3:] == ("", "", "")
    assert best_head_table(made, results).rows[0][-3:] == ("", "", "")


# The tables


def results_of(tmp_path):
    """Whisper-small on two corpora; EmoDB's multilayer head beats the paper's choice."""
    scores = {
        ("emovo", "linear"): {0: 6, 1: 8},
        ("emodb", "linear"): {0: 3, 1: 5},
        ("emodb", "multilayer"): {0: 9, 1: 9},
    }
    return {
        (corpus, "whisper-small", head): summarise(
            save_run(tmp_path / "runs", corpus=corpus, head=head, layers=(12,), seeds=(0, 1), right=right)
        )
        for (corpus, head), right in scores.items()
    }


def test_means_are_over_the_corpora_there_are_and_say_so(tmp_path):
    results = results_of(tmp_path)
    made = plan(tmp_path, models=("whisper-small",))
    table = head_table(made, results)
    macro = fmean(100 * results[c, "whisper-small", "linear"].macro_f1.mean for c in ("emovo", "emodb"))
    weighted = fmean(100 * results[c, "whisper-small", "linear"].weighted_f1.mean for c in ("emovo", "emodb"))
    assert table.rows == [
        (
            *("whisper-small", "linear", "2 of 9", f"{macro:.2f}", f"{weighted:.2f}"),
            *("60.87", f"{macro - 60.87:+.2f}", f"{weighted - 60.87:+.2f}"),
        ),
        ("whisper-small", "multilayer", "1 of 9", "100.00", "100.00", "45.14", "+54.86", "+54.86"),
    ]
    assert any("not like for like" in note for note in table.notes)


def test_each_corpus_is_compared_with_the_head_the_paper_chose(tmp_path):
    results = results_of(tmp_path)
    table = best_head_table(plan(tmp_path, models=("whisper-small",)), results)
    assert [row[:3] for row in table.rows] == [
        ("emodb", "whisper-small", "linear"),
        ("emovo", "whisper-small", "linear"),
    ]
    ours = 100 * results["emodb", "whisper-small", "linear"].macro_f1.mean
    assert table.rows[0][5:7] == ("87.21", f"{ours - 87.21:+.2f}")
    assert "±" in table.rows[0][3]
    assert "emodb, whisper-small: our best head is multilayer, macro F1 100.00±0.00" in table.notes
    assert any("no confidence interval" in note for note in table.notes)


def test_a_report_is_markdown_with_as_many_cells_in_each_row(tmp_path):
    made = plan(tmp_path, models=("whisper-small",))
    results = results_of(tmp_path)
    sections = [plan_table(made), head_table(made, results), layer_map([]), disagreement_table(STUDY)]
    text = as_markdown(sections, "redone", ("said first",))
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 3
    for lines in blocks:
        assert len({line.count("|") for line in lines}) == 1
    assert text.startswith("# redone\n\nsaid first\n\n## dasaro2024")


# The runs


def test_cells_are_trained_once_and_then_known(tmp_path):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-small", emovo)
    made = plan(tmp_path, [emovo], heads=("linear",), seeds=(0, 1))
    (job,) = made.jobs
    (first,) = run_job(made, job, tmp_path / "cache", tmp_path / "runs")
    assert (first.head, first.seeds, first.reused) == ("linear", 2, False)
    assert first.macro_f1.mean > 0.4
    again = plan(tmp_path, [emovo], heads=("linear",), seeds=(0, 1))
    assert again.state["emovo", "whisper-small"] == "done"
    (second,) = run_job(again, again.jobs[0], tmp_path / "cache", tmp_path / "runs")
    assert second.reused
    assert second.folder == first.folder
    for other in ({"seeds": (0,)}, {"seeds": (0, 1), "split": SplitOptions(kind="loso")}):
        assert plan(tmp_path, [emovo], heads=("linear",), **other).state["emovo", "whisper-small"] == "ready"


@pytest.mark.parametrize(("layer", "state"), [(12, "done"), (6, "ready")])
def test_a_sweep_over_layers_answers_for_the_last_one_alone(tmp_path, layer, state):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-small", emovo)
    folder = tmp_path / "cache" / "whisper-small" / "emovo"
    with open_features(folder, emovo.utterances) as features:
        digest = features.fingerprint.digest
    split = split_config(SplitOptions())
    save_run(tmp_path / "runs", head="linear", layers=(layer,), fingerprint=digest, split=split)
    made = plan(tmp_path, [emovo], heads=("linear",))
    assert made.state["emovo", "whisper-small"] == state


def test_cells_are_trained_as_the_paper_trained_them(tmp_path):
    emovo = manifest("emovo")
    cache_features(tmp_path / "cache", "whisper-small", emovo)
    made = plan(tmp_path, [emovo], heads=("linear",))
    (summary,) = run_job(made, made.jobs[0], tmp_path / "cache", tmp_path / "runs")
    config = read_run(summary.folder).config
    assert config.protocol == protocol_named("dasaro2024").config()
    assert (config.split["kind"], config.layers) == ("speaker", (12,))


def test_a_plan_imports_no_torch(tmp_path):
    code = (
        "import sys; from pathlib import Path; from ser_cache.published import study_named;"
        "from ser_cache.reproduction import ReproductionOptions, make_plan;"
        "make_plan(study_named('dasaro2024'), ReproductionOptions(), {}, Path('c'), Path('r'));"
        "print({'torch', 'transformers', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "set()"
