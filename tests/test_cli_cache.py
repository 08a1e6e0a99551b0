"""``ser cache verify|repair|merge|ls|du`` as a user types them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from small_parts import SAMPLES, features, full_part, make_part, make_two_backbones, row

from ser_cache.cli import run, screen
from ser_cache.manifest import Manifest, Utterance, write_manifest
from ser_cache.store import (
    PENDING,
    PartWriter,
    cached_folders,
    folder_lock,
    measure,
    open_part,
    part_paths,
    read_states,
)


@pytest.fixture
def cache(empty_folder: Path) -> Path:
    """The folder is the working directory's own."""
    return make_two_backbones(empty_folder)


def damage(folder: Path, place: int | None = None) -> Path:
    """Flip a byte of the features of row 1, or at a given place of the file."""
    (path,) = part_paths(folder)
    content = bytearray(path.read_bytes())
    content[next(open_part(path).spans(1))[0] if place is None else place] ^= 0x40
    path.write_bytes(content)
    return path


def test_a_sound_cache_is_verified_with_status_0(cache, capsys):
    assert run(["cache", "verify"]) == 0
    assert "3 parts in 3 folders checked: all sound" in capsys.readouterr().out


def test_damage_is_listed_with_what_to_do_and_status_3(cache, capsys):
    path = damage(cache / "xls-r" / "emovo")
    assert run(["cache", "verify", "--model", "xls-r", "--corpus", "emovo"]) == 3
    output = capsys.readouterr()
    assert "1 part in 1 folder checked: 1 damaged" in output.out
    assert f"{path.relative_to(cache.parent)}: utterance 'u01' does not match its checksum" in output.err
    assert "Next: ser cache repair --model xls-r --corpus emovo" in output.err
    assert run(["cache", "verify", "--model", "hubert+int8"]) == 0


def test_a_long_list_of_damage_is_cut_and_counted(cache, capsys):
    part = full_part(cache / "big" / "emovo", frames=[2] * 25)
    content = bytearray(part.path.read_bytes())
    for place in range(25):
        content[next(part.spans(place))[0]] ^= 1
    part.path.write_bytes(content)
    assert run(["cache", "verify"]) == 3
    errors = capsys.readouterr().err.splitlines()
    assert sum("does not match" in line for line in errors) == 10
    assert "damaged: and 15 more" in errors


def test_a_repair_says_what_to_run_and_leaves_a_sound_cache(cache, capsys):
    damage(cache / "xls-r" / "emovo")
    broken = damage(cache / "xls-r" / "cafe", 9)
    assert run(["cache", "repair"]) == 0
    output = capsys.readouterr()
    assert "hubert+int8" not in output.out + output.err
    assert output.out.splitlines()[-1] == "1 folder needs nothing"
    assert "xls-r emovo: 1 utterance marked, 0 parts set aside; " in output.out
    assert "xls-r cafe: 0 utterances marked, 1 part set aside; " in output.out
    assert output.out.count("`ser extract --model xls-r --corpus ") == 2
    assert "part-0000.h5 is part-0000.h5.damaged now" in output.err
    assert not broken.exists()
    assert run(["cache", "verify"]) == 0
    assert read_states(open_part(part_paths(cache / "xls-r" / "emovo")[0]))[1] == PENDING


def test_the_command_after_a_repair_names_the_folders_that_were_given(cache, capsys):
    cache.rename(cache.parent / "old disk")
    damage(cache.parent / "old disk" / "xls-r" / "emovo")
    assert run(["cache", "repair", "--cache", "old disk", "--manifests", "lists", "--model", "xls-r"]) == 0
    assert "`ser extract --model xls-r --corpus emovo --manifests lists --cache 'old disk'`" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("backbone", "suggested"),
    [
        ("xls-r", "xls-r: `ser extract --model xls-r --corpus emovo`"),
        ("mfcc", "mfcc: `ser extract --model mfcc --corpus emovo`"),
        ("org--big", "org/big: `ser extract --model org/big --corpus emovo`"),
        (
            "my-checkpoint+int8",
            "one named my-checkpoint: `ser extract --model MODEL --name my-checkpoint --corpus emovo --codec",
        ),
    ],
)
def test_a_repair_does_not_claim_to_know_a_model_that_no_part_tells(cache, capsys, backbone, suggested):
    shutil.rmtree(cache)
    full_part(cache / backbone / "emovo")
    damage(cache / backbone / "emovo", 9)
    assert run(["cache", "repair"]) == 0
    assert (
        f"which model it was is not known, as no part says so; the folder's name suggests {suggested}"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("command", ["verify", "repair", "merge"])
def test_an_unknown_name_lists_the_known_ones(cache, capsys, command):
    assert run(["cache", command, "--model", "xlsr"]) == 1
    assert "Did you mean 'xls-r'? Known: hubert+int8, xls-r." in capsys.readouterr().err
    assert run(["cache", command, "--model", "hubert+int8", "--corpus", "cafe"]) == 1
    assert "unknown corpus in the cache 'cafe'. Known: emovo." in capsys.readouterr().err


@pytest.mark.parametrize("command", [["verify"], ["repair"], ["merge"], ["rm", "xls-r"]], ids=" ".join)
def test_an_empty_cache_is_one_clear_line(cache, capsys, command):
    assert run(["cache", *command, "--cache", "elsewhere"]) == 1
    assert capsys.readouterr().err == (
        "error: nothing is cached in elsewhere; another cache is named with --cache.\n"
    )


def test_a_merge_says_what_it_did_and_in_which_order(cache, capsys):
    folder = cache / "xls-r" / "emovo"
    second = full_part(folder, number=1)
    with PartWriter(second) as writer:
        writer.supersede([0])
    assert run(["cache", "merge", "--corpus", "emovo"]) == 0
    output = capsys.readouterr().out
    assert "hubert+int8" not in output
    assert output.splitlines()[-1] == "1 folder needs nothing"
    assert "xls-r emovo: 2 parts into 1, " in output
    assert "5 utterances kept (0 failed), in the order of the ids, as it has no manifest here" in output
    assert "left out: 1 superseded, 0 not in the manifest" in output
    assert len(part_paths(folder)) == 1


@pytest.mark.parametrize("command", ["repair", "merge"])
def test_folders_where_nothing_is_to_do_share_one_line(cache, capsys, command):
    assert run(["cache", command]) == 0
    output = capsys.readouterr()
    assert (output.out, output.err) == ("3 folders need nothing\n", "")


def test_a_repair_says_which_folder_had_half_made_files(cache, capsys):
    (cache / "xls-r" / "cafe" / ".part-0001.h5.77.tmp").touch()
    assert run(["cache", "repair"]) == 0
    assert capsys.readouterr().out == "xls-r cafe: 1 half-made file deleted\n2 folders need nothing\n"


def test_a_merge_during_an_extraction_says_who_holds_the_folder(cache, capsys):
    folder = cache / "xls-r" / "emovo"
    make_part(folder, [row("late", 2)], number=1)
    with folder_lock(folder):
        assert run(["cache", "merge", "--model", "xls-r"]) == 1
    output = capsys.readouterr()
    assert (
        f"error: xls-r emovo: {folder.relative_to(cache.parent)} is being written by process " in output.err
    )
    assert "extract" not in output.err
    assert output.out == "1 folder needs nothing\n"
    assert run(["cache", "merge", "--model", "xls-r"]) == 1
    assert "has 1 utterance not extracted yet, such as 'late'" in capsys.readouterr().err


def test_a_merge_takes_the_manifest_s_order(cache, capsys):
    folder = cache / "xls-r" / "emovo"
    part = open_part(part_paths(folder)[0])
    kept = [
        Utterance(part.ids[place], f"{place}.wav", "s", "anger", "A", "it", samples, part.audio_sha256[place])
        for place, samples in ((0, int(part.samples[0])), (2, int(part.samples[2])))
    ]
    write_manifest(cache.parent / "manifests" / "emovo.csv", Manifest("emovo", tuple(kept)))
    assert run(["cache", "merge", "--model", "xls-r", "--corpus", "emovo"]) == 0
    output = capsys.readouterr().out
    assert "2 utterances kept (0 failed), in the order of the manifest" in output
    assert "left out: 0 superseded, 1 not in the manifest" in output


def test_one_folder_that_cannot_be_merged_does_not_stop_the_others(cache, capsys):
    make_part(cache / "hubert+int8" / "emovo", [row("late", 2)], number=1)
    full_part(cache / "xls-r" / "emovo", number=1)
    assert run(["cache", "merge"]) == 1
    output = capsys.readouterr()
    assert "error: hubert+int8 emovo: " in output.err
    assert "run `ser extract` for it first; nothing was changed." in output.err
    assert "xls-r emovo: 2 parts into 1" in output.out


def test_disk_usage_adds_up(cache, capsys):
    part = full_part(cache / "xls-r" / "emovo", number=1)
    with PartWriter(part) as writer:
        writer.supersede([2])
    usages = [measure(folder) for folder in cached_folders(cache)]
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert sum(usage.total for usage in usages) == sum(path.stat().st_size for path in files)
    assert sum(usage.allocated for usage in usages) == sum(path.stat().st_blocks * 512 for path in files)
    usage = usages[-1]
    assert (usage.backbone, usage.corpus) == ("xls-r", "emovo")
    assert usage.hidden == 2 * 3 * 12 * 3 * 2
    assert usage.pooled == 2 * 2 * 3 * 3 * 3 * 4
    assert usage.reclaimable == 3 * 7 * 3 * 2 + 2 * 3 * 3 * 4
    assert usage.hours == pytest.approx(5 * SAMPLES / 16_000 / 3600)
    assert run(["cache", "du"]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[0] == "Disk space of cache"
    assert next(line for line in output.splitlines() if line.startswith("total")).split()[1:3] == ["864", "B"]


def test_disk_usage_counts_what_is_damaged_or_left_over(cache, capsys):
    folder = cache / "xls-r" / "emovo"
    (folder / ".part-0001.h5.77.tmp").write_bytes(bytes(5000))
    damage(folder, 9)
    size = part_paths(folder)[0].stat().st_size
    usage = measure(folder)
    assert (usage.hidden, usage.pooled, usage.other, usage.unused) == (0, 0, size + 5000, 5000)
    assert run(["cache", "du"]) == 0
    assert "5.0 kB of other are damaged parts set aside" in capsys.readouterr().err


def test_disk_usage_of_nothing_says_so(cache, capsys):
    assert run(["cache", "du", "--cache", "elsewhere"]) == 0
    assert "The folder elsewhere does not exist." in capsys.readouterr().err


def write_manifest_of(cache: Path, corpus: str, *utterances: Utterance) -> None:
    ordered = tuple(sorted(utterances, key=lambda utterance: utterance.id))
    write_manifest(cache.parent / "manifests" / f"{corpus}.csv", Manifest(corpus, ordered))


def utterances_of(folder: Path) -> list[Utterance]:
    (part,) = map(open_part, part_paths(folder))
    return [
        Utterance(id_, f"{id_}.wav", "s", "anger", "A", "it", int(samples), sha256)
        for id_, samples, sha256 in zip(part.ids, part.samples, part.audio_sha256, strict=True)
    ]


def test_what_left_the_manifest_is_reclaimable_and_a_merge_gives_it_back(cache, capsys):
    folder = cache / "xls-r" / "emovo"
    kept = utterances_of(folder)[:2]
    assert measure(folder).reclaimable == 0
    before = measure(folder, kept)
    assert before.reclaimable == 3 * 7 * 3 * 2 + 2 * 3 * 3 * 4
    write_manifest_of(cache, "emovo", *kept)
    assert run(["cache", "du"]) == 0
    output = capsys.readouterr()
    assert re.search(r"^xls-r +emovo .* 198 B +\d+\.\d MB$", output.out, re.MULTILINE)
    assert "no manifest in manifests for cafe: reclaimable leaves out what left the manifest." in output.err
    assert run(["cache", "merge", "--model", "xls-r", "--corpus", "emovo"]) == 0
    after = measure(folder, kept)
    assert (after.hidden + after.pooled, after.reclaimable) == (before.hidden + before.pooled - 198, 0)


def test_what_a_merge_refuses_to_empty_is_not_reclaimable_and_rm_is_named(cache, capsys):
    folder = cache / "xls-r" / "emovo"
    others = utterances_of(folder)[0]
    write_manifest_of(cache, "emovo", replace(others, id="other"))
    assert measure(folder, [replace(others, id="other")]).reclaimable == 0
    assert run(["cache", "du", "--cache", "cache"]) == 0
    assert (
        "xls-r emovo: nothing in it is wanted any more, and a merge leaves that alone; to delete it: "
        "ser cache rm xls-r --corpus emovo --cache cache"
    ) in capsys.readouterr().err
    assert run(["cache", "merge", "--model", "xls-r", "--corpus", "emovo"]) == 1


def listed(capsys: pytest.CaptureFixture[str], backbone: str, corpus: str) -> str:
    """What ``ser cache ls`` says of a folder's utterances."""
    assert run(["cache", "ls"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return next(line[2] for line in cells if line[:2] == [backbone, corpus])


def test_a_listing_counts_what_the_manifest_has_and_the_folder_has_not(cache, capsys):
    known = utterances_of(cache / "xls-r" / "emovo")
    write_manifest_of(cache, "emovo", *known, replace(known[0], id="new", path="new.wav"))
    assert listed(capsys, "xls-r", "emovo") == "incomplete, 3 of 4"
    write_manifest_of(cache, "emovo", *known)
    assert listed(capsys, "xls-r", "emovo") == "complete, 3"
    write_manifest_of(cache, "emovo", *known[:2])
    assert listed(capsys, "xls-r", "emovo") == "complete, 2; 1 not in the manifest"
    write_manifest_of(cache, "emovo", *known[:2], replace(known[2], sha256="0" * 64))
    assert listed(capsys, "xls-r", "emovo") == "incomplete, 2 of 3"


def test_what_an_unfinished_extraction_has_reserved_is_told_apart_from_what_is_done(
    cache, capsys, monkeypatch
):
    assert run(["cache", "ls"]) == 0
    assert "reserved" not in capsys.readouterr().out
    part = make_part(cache / "xls-r" / "emovo", [row(f"late{n}", 100_000) for n in range(2)], number=1)
    with PartWriter(part) as writer:
        writer.write(0, features(part, 0))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["cache", "ls"]) == 0
    out = click.unstyle(capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 80
    (line,) = (line for line in out.splitlines() if re.match("xls-r +emovo", line))
    assert re.search(r" 1\.8 MB +1\.8 MB ", line)  # 3 layers of 100,000 frames of 3 numbers in fp16, each
    assert "\nreserved: disk space taken from the start" in out
    assert run(["cache", "du"]) == 0
    assert "1.8 MB are reserved for utterances" in capsys.readouterr().err


def test_a_pending_row_that_left_the_manifest_does_not_make_a_folder_incomplete(cache, capsys):
    folder = cache / "xls-r" / "emovo"
    known = utterances_of(folder)
    make_part(folder, [row("late", 2)], number=1)
    assert listed(capsys, "xls-r", "emovo") == "incomplete, 3 of 4"
    write_manifest_of(cache, "emovo", *known)
    assert listed(capsys, "xls-r", "emovo") == "complete, 3; 1 not in the manifest"


def test_a_failed_utterance_does_not_make_a_folder_incomplete_beside_its_manifest(cache, capsys):
    folder = cache / "xls-r" / "emovo"
    with PartWriter(make_part(folder, [row("bad", 2)], number=1)) as writer:
        writer.fail(0, "not audio")
    known = [
        *utterances_of(cache / "xls-r" / "cafe"),
        Utterance("bad", "bad.wav", "s", "anger", "A", "it", SAMPLES, row("bad", 2).audio_sha256),
    ]
    write_manifest_of(cache, "emovo", *known)
    assert listed(capsys, "xls-r", "emovo") == "complete, 3, 1 failed"


def test_a_listing_says_which_corpora_have_no_manifest(cache, capsys):
    write_manifest_of(cache, "cafe", *utterances_of(cache / "xls-r" / "cafe"))
    assert run(["cache", "ls"]) == 0
    assert "no manifest in manifests for emovo: complete means all that was begun." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["emovo.csv", "not a name.csv"])
@pytest.mark.parametrize("command", ["ls", "du"])
def test_a_manifest_that_cannot_be_read_does_not_hide_the_cache_and_gives_status_3(
    cache, capsys, name, command
):
    write_manifest_of(cache, "cafe", *utterances_of(cache / "xls-r" / "cafe"))
    (cache.parent / "manifests" / name).write_text("nonsense\n")
    assert run(["cache", command]) == 3
    output = capsys.readouterr()
    assert "xls-r" in output.out
    assert output.err.startswith(f"skipped: manifests/{name}")
    assert output.err.count(f"manifests/{name}") == 1
    assert ("no manifest in manifests for emovo: " in output.err) == (name != "emovo.csv")
    assert ("no readable manifest of emovo: " in output.err) == (name == "emovo.csv")
    if command == "ls":
        (row,) = [line for line in output.out.splitlines() if line.startswith("xls-r  ") and "emovo" in line]
        assert ("unknown, 3" if name == "emovo.csv" else "complete, 3") in row


def test_a_listing_with_damaged_parts_has_status_3(cache, capsys):
    (path,) = part_paths(cache / "xls-r" / "cafe")
    path.write_bytes(b"nothing")
    assert run(["cache", "ls"]) == 3
    assert "damaged: xls-r cafe: " in capsys.readouterr().err


def test_a_listing_names_the_parts_set_aside_and_how_to_delete_them(cache, capsys):
    (path,) = part_paths(cache / "xls-r" / "cafe")
    size = path.stat().st_size
    damage(cache / "xls-r" / "cafe", 9)
    assert run(["cache", "repair"]) == 0
    capsys.readouterr()
    assert run(["cache", "ls"]) == 0
    assert (
        f"set aside: xls-r cafe: part-0000.h5.damaged, {screen.size(size)}, which nothing reads; "
        "to delete it: rm cache/xls-r/cafe/part-0000.h5.damaged"
    ) in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("command", ["ls", "du"])
def test_an_empty_listing_says_what_comes_next(cache, capsys, command):
    assert run(["cache", command, "--cache", "my cache", "--manifests", "lists"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    first, second = told.err.splitlines()
    assert first == "The folder my cache does not exist."
    assert second == (
        "Nothing is cached yet; begin with: ser manifest CORPUS ROOT --manifests lists, then: "
        "ser extract --model MODEL --corpus CORPUS --manifests lists --cache 'my cache'"
    )
    write_manifest_of(cache, "emovo", *utterances_of(cache / "xls-r" / "emovo"))
    (cache.parent / "new").mkdir()
    assert run(["cache", command, "--cache", "new"]) == 0
    assert capsys.readouterr().err == (
        "Nothing is cached yet; begin with: ser extract --model MODEL --corpus CORPUS --cache new\n"
    )


@pytest.mark.parametrize(
    "command", [["verify"], ["repair"], ["merge"], ["du"], ["rm", "xls-r", "--yes"]], ids=" ".join
)
def test_no_command_imports_torch(cache, command):
    code = (
        "import sys; from ser_cache.cli import run; status = run(sys.argv[1:]);"
        "print({'torch', 'transformers'} & set(sys.modules), file=sys.stderr); sys.exit(status)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, "cache", *command], capture_output=True, text=True, check=True
    )
    assert finished.stderr.splitlines()[-1] == "set()"


def test_a_part_deleted_while_it_is_verified_is_not_damage(cache, monkeypatch, capsys):
    from ser_cache import store

    real = store.inspect_part

    def inspect(path, on_read):
        if path.parent.name == "cafe":
            path.unlink()
        return real(path, on_read)

    monkeypatch.setattr(store, "inspect_part", inspect)
    assert run(["cache", "verify"]) == 0
    assert "2 parts" in capsys.readouterr().out


def test_a_verification_in_progress_shows_megabytes(cache, monkeypatch):
    from ser_cache.cli import cache_upkeep

    seen = []
    monkeypatch.setattr(screen.Bar, "update", lambda _, done, detail="": seen.append((done, detail)))
    monkeypatch.setattr(cache_upkeep, "_MEGABYTE", 10)
    assert run(["cache", "verify"]) == 0
    numbers = [done for done, _ in seen]
    assert numbers == sorted(numbers)
    assert len(seen) == 9
    assert np.all([detail == "MB" for _, detail in seen])
