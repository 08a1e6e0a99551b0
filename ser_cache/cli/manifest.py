"""``ser manifest``: which clips a corpus has, who speaks, and with which emotion."""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.manifest_check import check_download
from ser_cache.cli.options import FILE, FOLDER, root_of, where_things_live
from ser_cache.errors import SerCacheError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ser_cache.importing import Import, Listing
    from ser_cache.manifest import Manifest


@click.command(epilog="Example: ser manifest emovo ~/corpora/EMOVO", short_help="List and check a corpus.")
@click.argument("corpus")
@click.argument("root", type=FOLDER, required=False)
@click.option("--table", type=FILE, help="CSV with a row per clip: path, speaker, emotion; others are kept.")
@click.option("--pattern", help="File names with fields, such as '{speaker}_{emotion}_{take}.wav'.")
@click.option("--labels", type=FILE, help='TOML label map: [emotions] code = "anger".')
@click.option("--strict", is_flag=True, help="Stop at the first file that cannot be read; write nothing.")
@click.option(
    "--check", is_flag=True, help="Only compare the files with the published ones, by SHA-256; write nothing."
)
@click.option("--verbose", is_flag=True, help="With --check, name every file that is not as published.")
@click.option(
    "--listed", is_flag=True, help="Write the ready manifest that ser_cache has (cremad); needs no audio."
)
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1), help="Decoding threads.")
@where_things_live("manifests")
def manifest(
    corpus: str,
    root: Path | None,
    table: Path | None,
    pattern: str | None,
    labels: Path | None,
    strict: bool,
    check: bool,
    verbose: bool,
    listed: bool,
    jobs: int,
    manifests: Path | None,
) -> int:
    """List, decode and check the clips of CORPUS below the folder ROOT.

    CORPUS is one of `ser corpora`, or any name of your own together with --table or --pattern; for a manifest
    of your own that is there already, neither is needed: its files are compared with those below ROOT, and it
    stays as it is. Every file is decoded, for its true length and a hash. Files that cannot be read are left
    out, listed, and named in failures/<corpus>.csv; the exit status is then 3.

    Without ROOT, the folder given last is taken.

    --check says of a download which files are as published, changed, missing or extra (cremad, emodb, emovo,
    ravdess). The exit status is 0 if all are as good as published, or if all were converted (to FLAC, to
    16 kHz) and names and lengths agree, which is all that can be compared then; otherwise it is 3.
    """
    from ser_cache.corpora import CORPORA
    from ser_cache.importing import prepare
    from ser_cache.manifest import check_corpus_name, write_manifest

    check_corpus_name(corpus)
    where = settings.locate(manifests=manifests)
    importing = table is not None or pattern is not None or labels is not None or strict
    if (check and listed) or ((check or listed) and importing) or (listed and root is not None):
        raise click.UsageError(
            "--check and --listed go with neither each other nor the options of an import."
        )
    if not check:
        settings.demand_writable(where.manifests, "--manifests")
    if listed:
        return _write_ready(where, corpus)
    root = root or _known_root(where, corpus)
    if check:
        return check_download(corpus, root, jobs, verbose)
    if table is None and pattern is None and corpus not in CORPORA:
        return _move_root(where, corpus, root)
    listing = _list(corpus, root, table, pattern, labels)
    with screen.bar(f"decoding {corpus}", len(listing.utterances)) as bar:
        imported = prepare(corpus, listing, root, lambda done, _: bar.update(done), jobs, strict)
    path = where.manifests / f"{corpus}.csv"
    replaced = _keep_replaced(path, imported.manifest)
    write_manifest(path, imported.manifest)
    settings.remember_root(where.manifests, corpus, root)
    _show(imported, path, complete=table is None and pattern is None)
    if replaced:
        screen.note(replaced)
    return _report_failures(where, corpus, {failure.path: failure.reason for failure in imported.failures})


def _known_root(where: settings.Locations, corpus: str) -> Path:
    """The folder when none was given: the one given last.

    Raises:
        SettingsError: there is none.
    """
    if root := root_of(where, corpus):
        screen.note(f"the audio of {corpus} is taken from {root}, the folder given last")
        return root
    from ser_cache.corpora import CORPORA
    from ser_cache.official import ready_corpora

    hints = []
    if corpus in CORPORA:
        hints.append(f" Where it is had: ser corpora --how {corpus}.")
    if corpus in ready_corpora():
        hints.append(f" Without any audio: ser manifest {corpus} --listed.")
    raise SettingsError(f"give ROOT, the folder that holds the audio of {corpus}.{''.join(hints)}")


def _write_ready(where: settings.Locations, corpus: str) -> int:
    from ser_cache.corpora import CORPORA
    from ser_cache.manifest import write_manifest
    from ser_cache.official import ready_manifest

    made = ready_manifest(corpus)
    path = where.manifests / f"{corpus}.csv"
    replaced = _keep_replaced(path, made)
    write_manifest(path, made)
    _say_counts(made, path)
    screen.say(f"licence of the corpus and of this manifest: {CORPORA[corpus].licence}")
    screen.note(
        f"No audio was read: lengths and hashes are the published ones. The audio ({CORPORA[corpus].source}) "
        f"is taken in by: ser manifest {corpus} ROOT"
    )
    if replaced:
        screen.note(replaced)
    return 0


def _keep_replaced(path: Path, made: Manifest) -> str:
    """Put the manifest that a new one replaces aside; returns what changes, in a line, or ""."""
    from ser_cache.manifest import read_manifest

    if not path.exists():
        return ""
    try:
        former = read_manifest(path)
    except SerCacheError as error:
        aside = _put_aside(path)
        return f"note: this replaced a manifest that could not be read ({error}); that one is now {aside}."
    before = {utterance.id: utterance for utterance in former.utterances}
    now = {utterance.id: utterance for utterance in made.utterances}
    differing = {
        "new": now.keys() - before.keys(),
        "gone": before.keys() - now.keys(),
        "changed": {id_ for id_ in now.keys() & before.keys() if now[id_] != before[id_]},
    }
    changes = ", ".join(
        f"{len(ids):,} {kind} ({screen.named(sorted(ids))})" for kind, ids in differing.items() if ids
    )
    if not changes:
        return ""
    aside = _put_aside(path)
    same = _is_deeper(before, now) or _is_deeper(now, before)
    moved = (
        " They are the same files below another ROOT; give the former to keep what is cached." if same else ""
    )
    return (
        f"note: this replaced a manifest of {screen.count(len(before), 'utterance')}: {changes}; that one is "
        f"now {aside}.{moved}"
    )


def _put_aside(path: Path) -> Path:
    """Copy a manifest as it is to a name in replaced/ that is free, or holds the very same."""
    from ser_cache.files import replacing

    content = path.read_bytes()
    aside, number = path.parent / "replaced" / path.name, 1
    while aside.exists() and aside.read_bytes() != content:
        number += 1
        aside = aside.with_name(f"{path.stem}-{number}{path.suffix}")
    with replacing(aside) as temporary:
        temporary.write_bytes(content)
    return aside


def _is_deeper(ids: Collection[str], others: Collection[str]) -> bool:
    """Whether ids are others behind the name of a folder, as below the root one level up."""
    first = min(ids).partition("/")[0]
    return set(ids) == {f"{first}/{other}" for other in others}


def _move_root(where: settings.Locations, corpus: str, root: Path) -> int:
    """Take a folder as the root of a manifest that is there already, and compare the files."""
    from ser_cache.audio import read
    from ser_cache.corpora import audio_files, demand_folder, known_corpus
    from ser_cache.importing import describe_root
    from ser_cache.manifest import list_manifests, path_of, read_manifest

    paths = list_manifests(where.manifests)
    if corpus not in paths:
        known_corpus(corpus)  # raises, and lists what is known
    demand_folder(root)
    made = read_manifest(paths[corpus])
    different: dict[str, str] = {}
    with screen.bar(f"comparing {corpus}", len(made)) as bar:
        for done, utterance in enumerate(made.utterances, 1):
            try:
                if read(path_of(root, utterance)).sha256 != utterance.sha256:
                    different[utterance.path] = (
                        "it has changed; to take it in, give --table or --pattern again"
                    )
            except SerCacheError as error:
                different[utterance.path] = str(error)
            bar.update(done)
    if len(different) == len(made):
        elsewhere = describe_root(root, [utterance.path for utterance in made.utterances])
        path, reason = next(iter(different.items()))
        raise SettingsError(
            f"{paths[corpus]}: {elsewhere}"
            if elsewhere
            else f"{root} holds none of the {len(made):,} files of {paths[corpus]} as they were: "
            f"{path}: {reason.rstrip('.')}; name another folder."
        )
    settings.remember_root(where.manifests, corpus, root)
    screen.say(f"{paths[corpus]}: {len(made) - len(different):,} of {len(made):,} files are below {root}")
    listed = {utterance.path for utterance in made.utterances}
    if unlisted := [path for path, _ in audio_files(root) if path not in listed]:
        screen.note(
            f"note: {root} holds {screen.count(len(unlisted), 'audio file')} beyond those of the manifest, "
            f"such as {unlisted[0]}; to take them in, give --table or --pattern again."
        )
    # Those that an import left out are still left out.
    kept = {path: reason for path, reason in _failures(where, corpus).items() if path not in listed}
    return _report_failures(where, corpus, different, kept)


def _list(corpus: str, root: Path, table: Path | None, pattern: str | None, labels: Path | None) -> Listing:
    from ser_cache.corpora import known_corpus
    from ser_cache.importing import list_corpus, read_labels, read_pattern, read_table

    if table is not None and pattern is not None:
        raise SettingsError("--table and --pattern are two ways to list the same clips; give one of them.")
    label_map = read_labels(labels) if labels is not None else None
    if table is not None:
        return read_table(table, root, label_map)
    if pattern is not None:
        return read_pattern(pattern, root, label_map)
    return list_corpus(known_corpus(corpus), root, label_map)


def _show(imported: Import, path: Path, complete: bool) -> None:
    from ser_cache.audio import SHORTEST_SPEECH
    from ser_cache.corpora import CORPORA
    from ser_cache.importing import about_left_out, differences
    from ser_cache.length_leaks import describe_leak, length_leaks
    from ser_cache.manifest import CANONICAL_EMOTIONS

    made = imported.manifest
    _say_counts(made, path)
    for emotion in set(made.emotions) - set(CANONICAL_EMOTIONS):
        nearest = get_close_matches(emotion, CANONICAL_EMOTIONS, n=1)
        guess = f"; did you mean {nearest[0]!r}?" if nearest else ""
        screen.note(f"note: {emotion!r} is not one of the usual emotions{guess}")
    if complete:
        if left_out := about_left_out(imported.left_out):
            screen.note(f"left out: {left_out}")
        if lines := differences(CORPORA[made.corpus], made):
            screen.note(f"differs from the complete corpus: {'; '.join(lines)}")
        if differs := CORPORA[made.corpus].differs:
            screen.note(f"note: unlike others' readings, {differs}")
        if unverified := CORPORA[made.corpus].unverified:
            screen.note(
                f"note: the recipe of {made.corpus} is not verified: {unverified}; look at the counts"
            )
    for group in imported.duplicates:
        screen.note(f"identical audio: {', '.join(group)}")
    if imported.doubtful:
        named = [f"{id_} ({doubt})" for id_, doubt in imported.doubtful]
        screen.note(
            f"note: {screen.count(len(named), 'clip')} can hardly hold speech, shorter than "
            f"{SHORTEST_SPEECH:g} s or silent: {screen.named(named)}; they stay in, look at the files"
        )
    for leak in length_leaks(made):
        screen.note(f"warning: {describe_leak(leak, made)}")


def _say_counts(made: Manifest, path: Path) -> None:
    counts = Counter(utterance.emotion for utterance in made.utterances)
    counted = f"{screen.count(len(made), 'utterance')}, {screen.count(len(made.speakers), 'speaker')}"
    screen.say(f"{path}: {counted}, {made.hours:.2f} h")
    screen.say(f"emotions: {', '.join(f'{emotion} {counts[emotion]:,}' for emotion in made.emotions)}")


def _failures_file(where: settings.Locations, corpus: str) -> Path:
    return where.manifests / "failures" / f"{corpus}.csv"


def _failures(where: settings.Locations, corpus: str) -> dict[str, str]:
    """Which files were listed as failed, reason by path."""
    path = _failures_file(where, corpus)
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file, suppress(csv.Error):
        rows = list(csv.DictReader(file))
        return {row["path"]: row["reason"] for row in rows if row.get("path") and row.get("reason")}
    return {}


def _report_failures(
    where: settings.Locations,
    corpus: str,
    failures: Mapping[str, str],
    earlier: Mapping[str, str] | None = None,
) -> int:
    """Write the failed files, reason by path, after earlier ones; show them, and return the exit status."""
    from ser_cache.files import write_csv

    path = _failures_file(where, corpus)
    rows = [*(earlier or {}).items(), *failures.items()]
    if rows:
        write_csv(path, ("path", "reason"), rows)
    else:
        path.unlink(missing_ok=True)  # of an earlier attempt: it would describe files that are fine now
    if not failures:
        return 0
    screen.list_failures(failures, path)
    return 3
