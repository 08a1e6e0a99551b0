"""The commands as a user types them: good input of every format, bad input, exit statuses, nothing lost."""

import csv
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
import small_models
import soundfile
from printed import last_line
from small_corpora import EMOTIONS, PATTERN, SPEAKERS, tone, write_tone_corpus

from ser_cache import cli
from ser_cache.cli import run, screen, ser
from ser_cache.cli.run_table import COLUMNS

Ser = Callable[..., int]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models.save_wav2vec2(tmp_path_factory.mktemp("models") / "tiny-random")


def commands(group: click.Group = ser, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in sorted(group.commands.items()):
        found += commands(command, (*prefix, name)) if isinstance(command, click.Group) else [(*prefix, name)]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--help"]) == 0
    assert f"Example: ser {' '.join(command)}" in capsys.readouterr().out


def test_the_page_of_commands_is_what_help_says() -> None:
    docs = Path(__file__).resolve().parents[1] / "docs"
    page = runpy.run_path(str(docs / "make_commands.py"))["page"]()
    assert (docs / "commands.md").read_text(encoding="utf-8") == page, "run: python docs/make_commands.py"


@pytest.mark.parametrize("command", [["models"], ["corpora"], ["cache", "ls"], ["runs"]], ids=" ".join)
def test_listings_import_neither_torch_nor_transformers(command: list[str], empty_folder: Path) -> None:
    code = (
        "import sys; from ser_cache.cli import run; status = run(sys.argv[1:]);"
        "print({'torch', 'transformers'} & set(sys.modules), file=sys.stderr); sys.exit(status)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    )
    assert finished.stderr.splitlines()[-1] == "set()"


def test_help_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from ser_cache.cli import run; status = run(['--help']);"
        "print({'torch', 'transformers', 'numpy'} & set(sys.modules), file=sys.stderr)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stderr.splitlines()[-1] == "set()"


def test_probing_never_imports_transformers_nor_an_audio_library(tones: Path) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    code = (
        "import sys; from ser_cache.cli import run; status = run(sys.argv[1:]);"
        "print({'transformers', 'librosa', 'soundfile', 'soxr'} & set(sys.modules)); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "probe", "--head", "all", "--epochs", "1"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert finished.stdout.splitlines()[-1] == "set()"


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "ser extract --model xls-r" in capsys.readouterr().out


def test_the_launcher_at_the_root_runs_the_same_commands() -> None:
    launcher = Path(__file__).resolve().parents[1] / "cli.py"
    finished = subprocess.run(
        [sys.executable, launcher, "--version"], capture_output=True, text=True, check=True
    )
    assert finished.stdout.startswith("ser, version ")


def test_main_exits_with_the_status(empty_folder: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["corpora", "--nonsense"])
    assert stop.value.code == 1


# The whole way


def test_audio_becomes_manifest_becomes_cache_becomes_runs(
    tones: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extract", "--model", str(model)]) == 0
    assert run(["extract", "--model", "mfcc"]) == 0
    assert run(["cache", "ls"]) == 0
    listing = capsys.readouterr().out
    assert listing.count("complete") >= 2
    assert run(["probe", "--head", "all", "--split", "loso", "--seeds", "2", "--epochs", "2"]) == 0
    table = capsys.readouterr().out
    rows = [line for line in table.splitlines() if line.strip().startswith("tones")]
    assert {tuple(row.split()[1:3]) for row in rows} == {
        (backbone, head)
        for backbone in ("mfcc", "tiny-random")
        for head in ("linear", "nonlinear", "multilayer")
    }
    assert run(["probe", "--head", "linear", "--split", "loso", "--seeds", "2", "--epochs", "2"]) == 0
    assert "reused" in "".join(capsys.readouterr())


def test_the_second_extraction_has_nothing_to_do(
    tones: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extract", "--model", str(model)]) == 0
    capsys.readouterr()
    assert run(["extract", "--model", str(model)]) == 0
    assert "nothing new; 36 utterances" in capsys.readouterr().out


def test_a_subset_of_layers_is_served_by_a_cache_of_all(
    tones: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extract", "--model", str(model)]) == 0
    assert run(["extract", "--model", str(model), "--layers", "last"]) == 0
    assert "nothing new; 36 utterances" in capsys.readouterr().out
    assert [folder.name for folder in Path("cache").iterdir()] == [model.name]


def test_layers_can_be_named_singly_and_in_ranges(tones: Path, model: Path) -> None:
    assert run(["extract", "--model", str(model), "--layers", "0,2-3"]) == 0
    assert (Path("cache") / f"{model.name}+layers0.2-3" / "tones" / "part-0000.h5").is_file()


def test_a_dry_run_writes_nothing(tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["extract", "--model", "xls-r", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "36" in shown
    assert "free on the disk" in shown
    assert not Path("cache").exists()


@pytest.mark.parametrize("command", ["manifest", "extract", "probe"])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(command: str, tones: Path) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    arguments = {
        "manifest": ["manifest", "again", str(tones), "--pattern", PATTERN],
        "extract": ["extract", "--model", "mfcc", "--max-seconds", "0.3"],
        "probe": ["probe", "--head", "linear", "--epochs", "1"],
    }
    # A limit on the size of a file stands for the disk: the system refuses the write in the same place.
    # -B, because the interpreter would write halves of its own bytecode files, and keep them.
    code = (
        "import resource, signal, sys; from ser_cache.cli import run;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)); sys.exit(run(sys.argv[1:]))"
    )
    finished = subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments[command]], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    assert finished.stderr.splitlines()[-1].startswith("error: ")
    left = [path.name for folder in ("manifests", "cache", "runs") for path in Path(folder).rglob("*.tmp")]
    assert not left
    assert not Path("manifests/again.csv").exists()
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_an_error_with_one_corpus_does_not_stop_the_others(
    tones: Path, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = empty_folder / "alone"
    root.mkdir()
    soundfile.write(root / "s1_anger_1.wav", tone(0.4, 200), 16_000)
    soundfile.write(root / "s1_neutral_1.wav", tone(0.4, 200), 16_000)
    assert run(["manifest", "alone", str(root), "--pattern", PATTERN]) == 0
    assert run(["extract", "--model", "mfcc"]) == 0
    capsys.readouterr()
    assert run(["probe", "--head", "linear", "--epochs", "1"]) == 1
    captured = capsys.readouterr()
    assert "error: alone, mfcc: " in captured.err
    assert [line.split()[:3] for line in captured.out.splitlines() if line.startswith("tones")] == [
        ["tones", "mfcc", "linear"]
    ]


def test_options_beat_the_environment(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tone_corpus(empty_folder / "tones")
    monkeypatch.setenv("SER_CACHE_MANIFESTS", str(empty_folder / "elsewhere"))
    assert run(["manifest", "tones", str(root), "--pattern", PATTERN]) == 0
    assert (empty_folder / "elsewhere" / "tones.csv").is_file()
    assert run(["manifest", "tones", str(root), "--pattern", PATTERN, "--manifests", "here"]) == 0
    assert (empty_folder / "here" / "tones.csv").is_file()


# Good input


def write_formats(root: Path) -> None:
    """One clip in every format that has to work, each by another speaker."""
    stereo = np.stack([tone(0.5, 200, 44_100), tone(0.5, 300, 44_100)], axis=1)
    soundfile.write(root / "s1_anger_1.wav", stereo, 44_100)
    soundfile.write(root / "s2_anger_1.wav", tone(0.5, 210), 16_000, subtype="PCM_U8")
    soundfile.write(root / "s3_anger_1.wav", tone(0.5, 220), 16_000, subtype="PCM_24")
    soundfile.write(root / "s4_anger_1.flac", tone(0.5, 230), 16_000)
    soundfile.write(root / "s5_anger_1.ogg", tone(0.5, 240), 16_000)
    soundfile.write(root / "s6_anger_1.mp3", tone(0.5, 250), 16_000)
    soundfile.write(root / "s7_anger_1.wav", tone(40.0, 260), 16_000)
    soundfile.write(root / "s8_anger_1.wav", np.zeros(16_000, "f4"), 16_000)


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"])
def test_every_format_a_long_clip_and_silence_are_extracted(empty_folder: Path, family: str) -> None:
    root = empty_folder / "mixed"
    root.mkdir()
    write_formats(root)
    folder = getattr(small_models, f"save_{family}")(empty_folder / "random")
    assert run(["manifest", "mixed", str(root), "--pattern", "{speaker}_{emotion}_{take}.*"]) == 0
    assert run(["extract", "--model", str(folder)]) == 0
    assert run(["extract", "--model", "mfcc"]) == 0


# Bad input: one line that names the thing, the exit status, and nothing lost


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["manifest", "emovo", "nowhere"], ["nowhere", "does not exist"]),
        (["manifest", "atlantis", "tones"], ["atlantis", "emovo", "--table"]),
        (["manifest", "t", "tones", "--pattern", "{take}_{emotion}_{x}.wav"], ["{speaker}"]),
        (["manifest", "t", "tones", "--table", "absent.csv"], ["absent.csv"]),
        (["manifest", "t/../u", "tones", "--pattern", PATTERN], ["t/../u"]),
        (["extract", "--model", "wav2vec3"], ["wav2vec3", "wav2vec2-base"]),
        (["extract", "--model", "./absent"], ["absent"]),
        (["extract", "--model", "mfcc", "--corpus", "atlantis"], ["atlantis", "ser manifest"]),
        (["extract", "--model", "mfcc", "--layers", "7"], ["7"]),
        (["extract", "--model", "mfcc", "--layers", "a-b"], ["a-b"]),
        (["extract", "--model", "mfcc", "--batch-seconds", "0"], ["--batch-seconds"]),
        (["extract", "--model", "mfcc", "--codec", "zip"], ["zip", "fp16"]),
        (["extract", "--model", "mfcc", "--device", "tpu"], ["tpu", "cuda"]),
        (["extract", "--model", "mfcc", "--whisper-context", "half"], ["half", "full"]),
        (["extract", "--model", "mfcc", "--normalise", "perhaps"], ["perhaps", "yes or no"]),
        (["extract"], ["--model"]),
        (["probe", "--head", "bilinear"], ["bilinear", "multilayer"]),
        (["probe", "--model", "gpt"], ["gpt"]),
        (["probe", "--corpus", "atlantis"], ["atlantis", "tones"]),
        (["probe", "--split", "lucky"], ["lucky", "loso"]),
        (["probe", "--seeds", "0"], ["--seeds"]),
        (["nonsense"], ["nonsense", "--help"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value[0], str) and value[0] in ser.commands else "",
)
def test_a_mistake_gets_one_line_and_status_1(
    arguments: list[str], named: list[str], tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    capsys.readouterr()
    assert run(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert len(captured.err.strip().splitlines()) == 1
    for name in named:
        assert name in captured.err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["runs", "--corpus"], "Option '--corpus' requires an argument. See `ser runs --help`."),
        (["cache", "ls", "--cache"], "Option '--cache' requires an argument. See `ser cache ls --help`."),
        (["reproduce", "wang2023", "--runs"], "Option '--runs' requires an argument. See `ser reproduce "),
        (["runs", "a", "b"], "Got unexpected extra argument (b). See `ser runs --help`."),
        (["cache", "nonsense"], "No such command 'nonsense'. See `ser cache --help`."),
        (["extract"], "Missing option '--model'. See `ser extract --help`."),
        (["--nonsense"], "No such option '--nonsense'. See `ser --help`."),
        (["runs", "--stalle"], "No such option '--stalle'. "),
    ],
)
def test_a_slip_of_typing_leads_to_the_help_of_the_command_that_was_typed(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 1
    assert capsys.readouterr().err.startswith(f"error: {line}")
    monkeypatch.setattr(sys, "argv", ["ser", *arguments])
    assert run() == 1
    assert capsys.readouterr().err.startswith(f"error: {line}")


BAD_FILES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:9000]),
    "text": lambda path: path.write_text("this is not audio, " * 50),
    "nan": lambda path: soundfile.write(path, np.full(8000, np.nan, "f4"), 16_000, subtype="FLOAT"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_left_out_listed_and_status_3(
    kind: str, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_tone_corpus(empty_folder / "tones")
    BAD_FILES[kind](root / "s1_anger_1.wav")
    assert run(["manifest", "tones", str(root), "--pattern", PATTERN]) == 3
    assert "s1_anger_1.wav" in capsys.readouterr().err
    with Path("manifests/failures/tones.csv").open(newline="", encoding="utf-8") as table:
        assert [row["path"] for row in csv.DictReader(table)] == ["s1_anger_1.wav"]
    assert len(Path("manifests/tones.csv").read_text(encoding="utf-8").splitlines()) == 36
    assert run(["manifest", "strict", str(root), "--pattern", PATTERN, "--strict"]) == 1
    assert "s1_anger_1.wav" in last_line(capsys)
    assert not Path("manifests/strict.csv").exists()


@pytest.mark.parametrize("kind", [*BAD_FILES, "vanished", "changed"])
def test_a_file_that_went_bad_fails_alone_and_the_rest_is_extracted(
    kind: str, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tones / "s1_anger_1.wav"
    good = path.read_bytes()
    spoil = BAD_FILES | {
        "vanished": lambda path: path.unlink(),
        "changed": lambda path: soundfile.write(path, tone(0.5, 999), 16_000),
    }
    spoil[kind](path)
    assert run(["extract", "--model", "mfcc"]) == 3
    assert "s1_anger_1" in capsys.readouterr().err
    assert "s1_anger_1" in Path("cache/mfcc/tones/failures.csv").read_text(encoding="utf-8")
    # A failed utterance does not make the cache incomplete: probes leave it out and say so.
    capsys.readouterr()
    assert run(["probe", "--head", "linear", "--epochs", "1"]) == 0
    assert "s1_anger_1" in capsys.readouterr().err
    path.write_bytes(good)
    assert run(["extract", "--model", "mfcc"]) == 0
    assert not Path("cache/mfcc/tones/failures.csv").exists()


def test_strict_extraction_stops_at_the_first_failure_and_keeps_what_is_done(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tones / "s1_anger_1.wav").unlink()
    assert run(["extract", "--model", "mfcc", "--strict"]) == 1
    assert "s1_anger_1" in last_line(capsys)


def test_a_clip_too_short_for_one_frame_fails_by_name(
    empty_folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_tone_corpus(empty_folder / "tones")
    soundfile.write(root / "s1_anger_3.wav", tone(0.02, 200), 16_000)
    assert run(["manifest", "tones", str(root), "--pattern", PATTERN]) == 0
    assert run(["extract", "--model", str(model)]) == 3
    line = capsys.readouterr().err
    assert "s1_anger_3" in line
    assert "too short" in line


def test_a_corpus_with_one_speaker_cannot_be_split_by_speaker(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = empty_folder / "solo"
    root.mkdir()
    for emotion in EMOTIONS:
        for take in range(4):
            soundfile.write(root / f"{SPEAKERS[0]}_{emotion}_{take}.wav", tone(0.4, 200 + take), 16_000)
    assert run(["manifest", "solo", str(root), "--pattern", PATTERN]) == 0
    assert run(["extract", "--model", "mfcc"]) == 0
    capsys.readouterr()
    assert run(["probe", "--head", "linear"]) == 1
    assert "at least 3 speakers" in last_line(capsys)


def test_extracting_under_a_taken_name_refuses_and_loses_nothing(
    tones: Path, model: Path, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = small_models.save_hubert(empty_folder / "other")
    assert run(["extract", "--model", str(model)]) == 0
    part = Path("cache") / model.name / "tones" / "part-0000.h5"
    before = part.read_bytes()
    capsys.readouterr()
    assert run(["extract", "--model", str(other), "--name", model.name]) == 1
    line = last_line(capsys)
    assert "family" in line
    assert "--name" in line
    assert part.read_bytes() == before


def test_a_corpus_without_its_audio_is_skipped_unless_it_is_named(
    tones: Path, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tone_corpus(empty_folder / "moved")
    assert run(["manifest", "moved", "moved", "--pattern", PATTERN]) == 0
    (empty_folder / "moved").rename(empty_folder / "away")
    capsys.readouterr()
    assert run(["extract", "--model", "mfcc"]) == 0
    assert "skipped: the audio of moved" in capsys.readouterr().err
    assert run(["extract", "--model", "mfcc", "--corpus", "moved"]) == 1
    assert "ser manifest moved ROOT" in last_line(capsys)


def test_probing_an_incomplete_cache_says_what_to_run(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    soundfile.write(tones / "s1_anger_9.wav", tone(0.5, 200), 16_000)
    assert run(["manifest", "tones", str(tones), "--pattern", PATTERN]) == 0
    capsys.readouterr()
    assert run(["probe", "--head", "linear", "--corpus", "tones"]) == 1
    assert "ser extract" in last_line(capsys)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_in_a_narrow_terminal_loses_no_column(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    row = (
        "emovo",
        "whisper-base-encoder",
        "multilayer",
        "40.0±21.2",
        "40.0±21.2",
        "30.4±20.6",
        "19.0-41.8",
        "30.4±20.6",
    )
    screen.table("Probes", COLUMNS, [row])
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert all(any(heading in line for line in lines) for heading in COLUMNS)
    assert sum(line.count("±") for line in lines) == 4
    assert width < 80 or max(map(len, lines)) <= width


def test_an_error_of_the_system_in_one_job_does_not_stop_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    done = []

    def work(job: str) -> int:
        if job == "first":
            raise PermissionError(13, "Permission denied", "failures.csv")
        done.append(job)
        return 0

    assert screen.each(["first", "second"], str, work) == 1
    assert done == ["second"]
    assert capsys.readouterr().err == (
        "error: first: failures.csv: Permission denied; nothing half-written is left behind.\n"
    )


def test_what_is_cached_needs_no_audio_and_what_is_not_does(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extract", "--model", "mfcc", "--corpus", "tones"]) == 0
    tones.rename(tones.with_name("elsewhere"))
    capsys.readouterr()
    assert run(["extract", "--model", "mfcc", "--corpus", "tones"]) == 0
    assert "nothing new" in capsys.readouterr().out
    assert run(["extract", "--model", "mfcc", "--corpus", "tones", "--max-seconds", "0.3"]) == 1
    assert "say where it is now: ser manifest tones ROOT" in capsys.readouterr().err


def test_a_combination_that_is_not_cached_is_named(tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    root = write_tone_corpus(tones.with_name("more"))
    assert run(["manifest", "more", str(root), "--pattern", PATTERN]) == 0
    probe = ["probe", "--head", "linear", "--epochs", "1"]
    assert run([*probe, "--corpus", "more", "--model", "mfcc"]) == 1
    assert "more is not cached for mfcc; run: `ser extract --model mfcc --corpus more`" in (
        capsys.readouterr().err
    )
    assert run(["extract", "--model", "mfcc", "--corpus", "more", "--codec", "fp16"]) == 0
    chosen = ["--model", "mfcc", "--model", "mfcc+fp16", "--corpus", "tones", "--corpus", "more"]
    assert run([*probe, *chosen]) == 0
    told = capsys.readouterr().err
    assert "skipped: tones is not cached for mfcc+fp16." in told
    assert "skipped: more is not cached for mfcc." in told
