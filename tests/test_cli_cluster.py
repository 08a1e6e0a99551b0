"""``ser cluster`` as a user types it: tables, reuse, formats, figures, missing features, plain refusals."""

import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from printed import last_line
from small_grid import cache_features, manifest, save_manifest
from small_runs import small_run

from ser_cache.cli import run
from ser_cache.manifest import Manifest
from ser_cache.settings import remember_root


@pytest.fixture
def cached(empty_folder):
    """Two corpora cached for a backbone of three layers."""
    for name in ("emodb", "emovo"):
        made = save_manifest(empty_folder / "manifests", manifest(name))
        cache_features(empty_folder / "cache", "whisper-small", made, layers=(0, 1, 2))
    return empty_folder


EMOTION_NAMES = ("anger", "fear", "joy", "neutral")


def lone_clips():
    """Four clips of four speakers with an emotion each; nothing else is known of them."""
    clips = [u for u in manifest("emovo").utterances if u.speaker in ("s0", "s1", "s2", "s3")]
    by_speaker = {clip.speaker: clip for clip in clips}
    return tuple(
        replace(clip, emotion=EMOTION_NAMES[n], gender="", sentence="", language="it", intensity="", age="")
        for n, clip in enumerate(by_speaker.values())
    )


WHISPER = ["cluster", "--features", "whisper-small"]


def test_clusters_are_shown_beside_every_label_and_kept(cached, capsys):
    assert run([*WHISPER, "--corpus", "emovo"]) == 0
    out = capsys.readouterr().out
    assert "Clusters of emovo, whisper-small, layer 2, k 3, 36 utterances, 3 features" in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert rows["emotion"][:3] == ["emotion", "3", "1.00"]
    assert float(rows["speaker"][2]) < 0.2
    assert "closest by AMI: emotion 1.00, speaker" in out
    table = out.partition("Clusters by emotion\n\n")[2].splitlines()
    assert table[0].split() == ["cluster", "clips", "silh.", "anger", "fear", "neutral"]
    assert rows["0"][1] == "12"
    folder = next((cached / "runs" / "clusterings").iterdir())
    assert f"assignments: runs/clusterings/{folder.name}" in out
    assert {path.name for path in folder.iterdir()} == {"config.json", "assignments.csv", "summary.json"}


def test_the_same_again_is_read_and_says_so(cached, capsys):
    assert run([*WHISPER, "--corpus", "emovo"]) == 0
    first = capsys.readouterr().out
    assert run([*WHISPER, "--corpus", "emovo"]) == 0
    again = capsys.readouterr()
    assert again.out == first
    assert again.err == "1 of 1 clustering reused; --force repeats.\n"
    assert run([*WHISPER, "--corpus", "emovo", "--force"]) == 0
    assert "reused" not in capsys.readouterr().err


def test_tables_fit_a_terminal_of_80_columns(cached, capsys):
    assert run([*WHISPER, "--corpus", "emovo", "--k", "2-5", "--seeds", "3"]) == 0
    assert run([*WHISPER, "--layer", "all", "--seeds", "3"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("assignments")]
    assert max(map(len, lines)) <= 80


def test_many_labels_and_emotions_take_several_tables_of_80_columns(empty_folder, capsys):
    emotions = [f"a rather long emotion {letter}" for letter in "abcdefgh"]
    clips = tuple(
        replace(
            clip,
            emotion=emotions[number % 8],
            gender=f"{number % 2}",
            sentence=f"{number % 5}",
            intensity=f"{number % 3}",
            age=f"{20 + 10 * (number % 4)}",
            race=f"{number % 4}",
            ethnicity=f"{number // 4 % 2}",
        )
        for number, clip in enumerate(manifest("emovo").utterances)
    )
    made = save_manifest(empty_folder / "manifests", Manifest("emovo", clips))
    cache_features(empty_folder / "cache", "whisper-small", made, layers=(0, 1))
    capsys.readouterr()
    assert run([*WHISPER, "--seeds", "2", "--layer", "all"]) == 0
    assert run([*WHISPER, "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(len(squeezed(line)) for line in lines if "  " in line) <= 80  # lines of prose fold
    titles = [line for line in lines if line.endswith("(continued)")]
    assert [title.partition(":")[0].partition(" of ")[0] for title in titles] == [
        "Clusters by layer",
        *["Clusters by emotion"] * 2,
    ]
    assert [out.count(f"  {label}") > 0 for label in ("race", "ethnicity", *emotions)] == [True] * 10


def squeezed(line):
    """A line as a terminal of 80 columns has it: one space less between two columns of a table."""
    return re.sub(r"(?<=\S)  (?=\s*\S)", " ", line)


def test_a_range_of_k_takes_the_best_silhouette(cached, capsys):
    assert run([*WHISPER, "--corpus", "emovo", "--k", "2-5", "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    assert "k 3, 36 utterances" in out
    numbers = out.partition("Numbers of clusters")[2].splitlines()
    assert [line.split()[0] for line in numbers[3:7]] == ["2", "3", "4", "5"]
    assert numbers[4].endswith("best silhouette")
    assert "stability: mean ARI between the clusters of two seeds" in out
    assert "of seed " in out


def test_as_many_clusters_as_a_label_has_groups(cached, capsys):
    assert run([*WHISPER, "--corpus", "emovo", "--k", "speaker"]) == 0
    assert "k 6, 36 utterances" in capsys.readouterr().out


def test_some_emotions_alone_are_clustered(cached, capsys):
    choice = ["--emotions", "calm=anger+fear,neutral"]
    assert run([*WHISPER, "--corpus", "emovo", *choice]) == 0
    captured = capsys.readouterr()
    assert "k 2, 36 utterances" in captured.out
    assert "Clusters by emotion\n\ncluster  clips  silh.  calm  neutral" in captured.out
    assert captured.err.startswith("emovo: 36 utterances: 36 of the 2 emotions, none left out")
    assert run([*WHISPER, "--emotions", "anger,fear"]) == 0
    assert capsys.readouterr().out.count("k 2, 24 utterances") == 2
    assert run([*WHISPER, "--corpus", "emovo", "--emotions", "anger,boredom"]) == 1
    assert "emovo has no boredom" in last_line(capsys)


def test_missing_mfcc_of_all_emotions_are_extracted(tones, capsys):
    assert run(["cluster", "--emotions", "anger,neutral"]) == 0
    captured = capsys.readouterr()
    assert "36 utterances extracted" in captured.err
    assert "k 2, 24 utterances" in captured.out


def test_layers_have_a_row_each_and_every_corpus_a_table(cached, capsys):
    assert run([*WHISPER, "--layer", "all", "--score", "purity"]) == 0
    out = capsys.readouterr().out
    for name in ("emodb", "emovo"):
        table = out.partition(f"Clusters by layer: {name}, whisper-small")[2].splitlines()
        assert table[2].split() == ["layer", "k", "silhouette", "emotion", "speaker"]
        assert [line.split()[0] for line in table[3:6]] == ["0", "1", "2"]
    assert "purity with each label" in out
    assert "best layer: emotion" in out
    assert len(list((cached / "runs" / "clusterings").iterdir())) == 6


def test_csv_has_a_row_and_json_all_of_each(cached, capsys):
    assert run([*WHISPER, "--layer", "0", "--layer", "2", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["corpus"], row["layer"]) for row in rows] == [
        ("emodb", "0"),
        ("emodb", "2"),
        ("emovo", "0"),
        ("emovo", "2"),
    ]
    assert float(rows[0]["ari.emotion"]) == pytest.approx(1.0)
    assert run([*WHISPER, "--layer", "2", "--format", "json", "--output", "all.json"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "2 clusterings written to all.json" in captured.err
    first = json.loads((cached / "all.json").read_text())[0]
    assert first["config"]["corpus"] == "emodb"
    assert first["agreements"]["emotion"][0]["ari"] == pytest.approx(1.0)
    assert first["cluster_sizes"] == [12, 12, 12]


def test_markdown_holds_the_tables(cached, capsys):
    assert run([*WHISPER, "--corpus", "emovo", "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert "## Clusters of emovo, whisper-small, layer 2" in out
    assert "| against | k | ARI | AMI | NMI (chance) | purity (chance) | silh. |" in out


def test_what_is_there_is_listed(cached, capsys):
    assert run(["cluster", "--list"]) == 0
    assert "There are no clusterings in runs; make some with: ser cluster" in capsys.readouterr().err
    assert run([*WHISPER, "--reduce", "2"]) == 0
    capsys.readouterr()
    assert run(["cluster", "--list"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if "whisper-small" in line] == ["emodb", "emovo"]
    assert "2 components of 3 features" in out
    (cached / "runs" / "clusterings").joinpath("broken").mkdir()
    (cached / "runs" / "clusterings" / "broken" / "summary.json").write_text("[]")
    assert run(["cluster", "--list"]) == 3
    captured = capsys.readouterr()
    assert captured.out == out
    assert "broken is damaged" in captured.err


def test_the_list_is_of_what_is_asked_for_and_refuses_what_it_could_not_heed(cached, capsys):
    assert run([*WHISPER, "--layer", "all"]) == 0
    capsys.readouterr()
    assert run([*WHISPER, "--list", "--corpus", "emovo", "--layer", "1", "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["corpus"], row["features"], row["layer"]) == ("emovo", "whisper-small", "1")
    assert run(["cluster", "--list", "--features", "mfcc"]) == 0
    assert capsys.readouterr().err == "None of the 6 clusterings in runs is of these.\n"
    assert run(["cluster", "--list", "--k", "3"]) == 1
    assert last_line(capsys).startswith("error: --k changes nothing of --list")


def test_the_list_says_that_k_was_the_best_of_a_range(cached, capsys):
    clips = [replace(clip, emotion=EMOTION_NAMES[n % 2]) for n, clip in enumerate(lone_clips())]
    alike = Manifest("noise", tuple(clips))
    save_manifest(cached / "manifests", alike)
    cache_features(cached / "cache", "whisper-small", alike, layers=(0, 1, 2))
    assert run([*WHISPER, "--corpus", "noise", "--k", "2-3"]) == 0
    capsys.readouterr()
    assert run(["cluster", "--list"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("noise"))
    assert "best k of 2-3" in line


def test_runs_that_cannot_be_written_are_told_before_any_work(cached, capsys):
    (cached / "afile").write_text("")
    commands = (
        [*WHISPER],
        ["baseline", "--knn", "--features", "whisper-small"],
        ["probe", "--head", "linear", "--model", "whisper-small"],
    )
    for command in commands:
        assert run([*command, "--corpus", "emovo", "--runs", "afile"]) == 1
        told = last_line(capsys)
        assert told == (
            "error: afile cannot be written to (Not a directory); give another folder: --runs FOLDER"
        )


def test_utterances_with_nothing_in_common_are_clustered_only_where_k_is_given(cached, capsys):
    alone = Manifest("alone", lone_clips())
    save_manifest(cached / "manifests", alone)
    cache_features(cached / "cache", "whisper-small", alone, layers=(0, 1, 2))
    assert run([*WHISPER, "--corpus", "alone"]) == 1
    assert "alone has no label with two groups and more than one utterance in any" in last_line(capsys)
    assert run([*WHISPER, "--corpus", "alone", "--k", "2"]) == 0
    assert "no label has two groups: nothing to compare with" in capsys.readouterr().out


def test_clusterings_that_newer_ones_replace_are_marked_in_the_list(cached, capsys):
    command = [*WHISPER, "--corpus", "emovo", "--k", "3"]
    assert run(command) == 0
    clips = manifest("emovo").utterances
    changed = (replace(clips[0], emotion="neutral"), *clips[1:])
    save_manifest(cached / "manifests", Manifest("emovo", changed))
    assert run(command) == 0
    capsys.readouterr()
    assert run(["cluster", "--list"]) == 0
    out = capsys.readouterr().out
    assert out.count("stale: replaced") == 1
    assert "replaced: there is a newer clustering of the same choices on other labels" in out
    assert run(["cluster", "--list", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert sorted(row["stale"] for row in rows) == ["False", "True"]


def test_clusterings_whose_data_has_changed_since_say_so_in_the_list(cached, capsys):
    assert run([*WHISPER, "--corpus", "emovo"]) == 0
    clips = manifest("emovo").utterances
    save_manifest(cached / "manifests", Manifest("emovo", (replace(clips[0], emotion="neutral"), *clips[1:])))
    capsys.readouterr()
    assert run(["cluster", "--list", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["stale"], row["stale_because"]) == (True, ["manifest"])
    (cached / "manifests" / "emovo.csv").write_text("path;emotion\n")
    assert run(["cluster", "--list"]) == 3
    assert capsys.readouterr().err.startswith("unknown whether results on emovo are stale: manifests/emovo")


def test_silhouettes_of_several_seeds_are_listed_as_scores_are_mean_and_spread(cached, capsys):
    command = [*WHISPER, "--corpus", "emovo", "--seeds", "3", "--format", "json"]
    assert run(command) == 0
    (full,) = json.loads(capsys.readouterr().out)
    assert run(["cluster", "--list", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert run(["cluster", "--list"]) == 0
    assert f"{row['silhouette']:.2f}±" in capsys.readouterr().out
    assert full["config"]["seeds"] == [0, 1, 2]


def test_what_is_clustered_is_shown_after_ctrl_c(cached, capsys, monkeypatch):
    from ser_cache import clustering

    def interrupted(features, *arguments, **named):
        if features.corpus == "emovo":
            raise KeyboardInterrupt
        return whole(features, *arguments, **named)

    whole = clustering.cluster
    monkeypatch.setattr(clustering, "cluster", interrupted)
    assert run(WHISPER) == 130
    captured = capsys.readouterr()
    assert "Clusters of emodb" in captured.out
    assert "interrupted; finished layers are kept" in captured.err


def test_clusterings_do_not_disturb_the_runs(cached, capsys):
    assert run([*WHISPER]) == 0
    capsys.readouterr()
    assert run(["runs"]) == 0
    assert "There are no runs in runs" in capsys.readouterr().err
    small_run(cached / "runs")
    assert run(["runs"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "Runs in runs" in captured.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--k", "1"], "k is 1; there are two clusters at least"),
        (["--k", "5-2"], "--k 5-2 holds no number; the smaller one comes first"),
        (["--k", "mood"], "emovo has no mood with two groups"),
        (["--k", "36"], "36 utterances cannot make 36 clusters"),
        (["--layer", "x"], "--layer x is no layer"),
        (["--layer", "9"], "has no layer 9; cached are 0, 1, 2"),
        (["--score", "f1"], "unknown score 'f1'"),
        (["--standardise", "none"], "there is no none with two groups to standardise within; choose global"),
        (["--against", "take"], "no utterance has a 'take' to compare with"),
        (["--features", "xls-r"], "unknown features 'xls-r'"),
        (["--plot", "a.gif"], "does not end in .png, .pdf, .svg"),
        (["--reduce", "4"], "3 principal components, fewer than the 4 asked for"),
    ],
)
def test_refusals_are_one_line(cached, capsys, arguments, says):
    features = [] if "--features" in arguments else WHISPER[1:]
    assert run(["cluster", *features, "--corpus", "emovo", *arguments]) == 1
    assert says in last_line(capsys)


def test_a_corpus_that_cannot_be_clustered_does_not_stop_the_others(cached, capsys):
    one = Manifest("calm", tuple(u for u in manifest("calm").utterances if u.emotion == "anger"))
    save_manifest(cached / "manifests", one)
    cache_features(cached / "cache", "whisper-small", one, layers=(0, 1, 2))
    assert run([*WHISPER]) == 1
    captured = capsys.readouterr()
    assert "Clusters of emovo" in captured.out
    assert "error: calm, whisper-small: calm has no emotion with two groups" in captured.err


def test_what_is_not_cached_is_named_with_its_command(cached, capsys):
    save_manifest(cached / "manifests", manifest("ravdess"))
    assert run([*WHISPER, "--corpus", "ravdess"]) == 1
    lacking = "error: ravdess is not cached for whisper-small"
    assert last_line(capsys) == f"{lacking}, and its audio is not here; say where: ser manifest ravdess ROOT"
    remember_root(cached / "manifests", "ravdess", cached)
    assert run([*WHISPER, "--corpus", "ravdess"]) == 1
    assert last_line(capsys).startswith(f"{lacking}; run: `ser extract --model")
    assert run([*WHISPER]) == 0
    assert "skipped: ravdess is not cached for whisper-small" in capsys.readouterr().err


def test_for_a_name_that_is_not_cached_only_commands_that_can_work_are_advised(cached, capsys):
    cache_features(cached / "cache", "tiny+pooled", manifest("emovo"))
    for name, advice in {
        "zzz": "See: ser cache ls for what is cached, ser models for what can be.",
        "xls-r": "Cache it with: ser extract --model xls-r",
        "facebook/hubert-large-ll60k": "Cache it with: ser extract --model facebook/hubert-large-ll60k",
        "tiny": "Of it only tiny+pooled is cached; name that, or extract it without the option.",
    }.items():
        assert run(["cluster", "--features", name]) == 1
        assert last_line(capsys).endswith(advice)
    assert run(["cluster", "--corpus", "emovo"]) == 1
    assert "mfcc of emovo is not cached, and its audio is not here; say where: ser manifest" in last_line(
        capsys
    )


def test_missing_mfcc_are_extracted_first_and_nothing_of_it_is_on_stdout(tones, capsys):
    capsys.readouterr()
    assert run(["cluster", "--format", "csv"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("mfcc of tones is not cached completely: extracting it first.\n")
    assert "36 utterances extracted" in captured.err
    assert captured.out.startswith("corpus,features,layer,emotions,stale,stale_because,k,")
    assert run(["cluster"]) == 0
    captured = capsys.readouterr()
    assert "extracting" not in captured.err
    assert "Clusters of tones, mfcc, layer 1, k 3" in captured.out


def test_utterances_that_fail_are_listed_and_the_rest_is_clustered(tones, capsys):
    next(tones.glob("*.wav")).write_bytes(b"no audio")
    assert run(["cluster"]) == 3
    captured = capsys.readouterr()
    assert "1 failed" in captured.err
    assert "35 utterances" in captured.out
    assert run(["cluster"]) == 0
    assert "note: tones: 1 utterance without features left out." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "drawn"),
    [
        (["--corpus", "emovo"], {"c.svg"}),
        (["--corpus", "emovo", "--layer", "all"], {"c.svg"}),
        ([], {"c-emodb-whisper-small.svg", "c-emovo-whisper-small.svg"}),
    ],
)
def test_figures_are_drawn_and_named(cached, capsys, arguments, drawn):
    pytest.importorskip("matplotlib")
    (cached / "figures").mkdir()
    assert run([*WHISPER, *arguments, "--plot", "figures/c.svg"]) == 0
    assert {path.name for path in (cached / "figures").iterdir()} == drawn
    assert {line.removeprefix("figure: figures/") for line in capsys.readouterr().err.splitlines()} == drawn


def test_a_runs_confusion_matrix_is_drawn(empty_folder, capsys):
    pytest.importorskip("matplotlib")
    made = small_run(empty_folder / "runs")
    assert run(["runs", made.folder.name, "--plot", "confusion.png"]) == 0
    assert (empty_folder / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert "figure: confusion.png" in capsys.readouterr().err
    assert run(["runs", "--plot", "confusion.png"]) == 1
    assert "name the RUN too" in last_line(capsys)


def test_it_imports_neither_torch_nor_matplotlib(cached):
    code = (
        "import sys; from ser_cache.cli import run;"
        "status = run(['cluster', '--features', 'whisper-small', '--corpus', 'emovo']);"
        "print({'torch', 'transformers', 'matplotlib', 'librosa'} & set(sys.modules)); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
