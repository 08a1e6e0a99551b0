"""Extract one corpus after another with a model that is loaded: the bar, the line at the end, what failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from ser_cache import settings
from ser_cache.cli import interruption, screen
from ser_cache.errors import SerCacheError

if TYPE_CHECKING:
    from ser_cache.extraction import ExtractionOptions, ExtractionReport
    from ser_cache.extraction.precision import PrecisionChoice
    from ser_cache.extractor import Extractor
    from ser_cache.manifest import Manifest


@dataclass
class CorpusExtraction:
    """One model over several corpora.

    Attributes:
        extractor: the model.
        options: how to extract and store.
        where: where things live.
        auto: whether the precision is that of what is cached, or else the one to be found by measuring.
        measured: the one found; "" until then.
        say: where the line about what was done goes; to stderr where it is not the command's own result.
    """

    extractor: Extractor
    options: ExtractionOptions
    where: settings.Locations
    auto: bool
    measured: str = ""
    say: Callable[[str], None] = screen.say

    def one(self, manifest: Manifest, root: Path) -> int:
        """Extract one corpus, and return the exit status: 3 where utterances failed, which are listed."""
        from ser_cache.extraction import Progress, choose_folder, extract
        from ser_cache.extractor import PRECISION
        from ser_cache.mfcc import MfccExtractor
        from ser_cache.store import naming_the_writer

        identity = dict(self.extractor.identity)
        if self.auto:
            del identity[PRECISION]
        folder = choose_folder(self.where.cache, manifest.corpus, self.extractor, self.options, identity)
        with naming_the_writer(folder, enabled=self.options.lock):
            extractor = self._at_precision(folder, manifest, root)
        if isinstance(extractor, MfccExtractor) and extractor.caution:
            screen.note(f"note: {folder.parent.name}: {extractor.caution}.")
        started = monotonic()
        label = f"{manifest.corpus} {folder.parent.name}"
        with screen.bar(label, len(manifest)) as bar:

            def show(progress: Progress) -> None:
                speed = progress.seconds / max(monotonic() - started, 1e-9)
                bar.restate(progress.utterances, progress.total, f"{speed:.1f} s audio/s")

            try:
                report = extract(extractor, manifest.utterances, root, folder, self.options, show)
            except KeyboardInterrupt:
                interruption.leaves(_what_is_kept(extractor, self.options, manifest, folder))
                raise
        show_report(report, label, self.say)
        if report.failed:
            screen.list_failures(report.failed, folder / "failures.csv")
            return 3
        return 0

    def _at_precision(self, folder: Path, manifest: Manifest, root: Path) -> Extractor:
        """The model in the precision of what is cached; where nothing is, in one that is measured once."""
        if not self.auto:
            return self.extractor
        from ser_cache.extraction import precision, wanted_fingerprint

        cached = precision.cached_precision(folder)
        if cached is None and not self.measured:
            wanted = wanted_fingerprint(self.extractor, self.options, self.extractor.identity)
            screen.busy("measuring the precisions")
            choice = precision.choose_precision(self.extractor, manifest.utterances, root, wanted)
            screen.note(_reasons(choice, str(wanted.storage["codec"])))
            self.measured = choice.precision
        return self.extractor.at_precision(cached or self.measured)


def _what_is_kept(extractor: Extractor, options: ExtractionOptions, manifest: Manifest, folder: Path) -> str:
    """How much of a corpus is in the cache, as the next extraction will find it."""
    from ser_cache.extraction import plan

    whose = f"{manifest.corpus} {folder.parent.name}"
    try:
        kept = plan(extractor, manifest.utterances, folder, options, extractor.identity).reused
    except (SerCacheError, OSError):
        return f"finished utterances of {whose} are kept: {interruption.GO_ON}"
    if not kept:
        return f"no utterance of {whose} was finished"
    return f"{kept:,} of {screen.count(len(manifest), 'utterance')} of {whose} are kept: {interruption.GO_ON}"


def _reasons(choice: PrecisionChoice, codec: str) -> str:
    """The chosen precision in a line, with what was measured."""
    from ser_cache.extraction.precision import LEAST_GAIN, SAMPLE_CLIPS

    beside = [
        f"{one.precision} about {one.speed:.1f} times as fast, with an error of {one.error:.2%} beside "
        f"{one.storage_error:.2%} from storing {codec} (worst layer: {one.layer})"
        for one in choice.measured
    ]
    tried = f"; measured on {SAMPLE_CLIPS} clips: {'; '.join(beside)}" if beside else ""
    chosen = f"computing in {choice.precision}{tried}"
    refused = [one for one in choice.measured if one.speed >= LEAST_GAIN and not one.accurate]
    if not refused:
        return chosen
    fastest = max(refused, key=lambda one: one.speed)
    return f"{chosen}. To compute in it nevertheless: --precision {fastest.precision}"


def show_report(report: ExtractionReport, label: str, say: Callable[[str], None] = screen.say) -> None:
    """Say in a line what an extraction did."""
    if not report.done:
        say(f"{label}: nothing new; {report.reused:,} utterances were cached already in {report.folder}")
        return
    speed = report.seconds / max(report.wall_seconds, 1e-9)
    say(
        f"{label}: {screen.count(report.done, 'utterance')} extracted, {report.reused:,} reused; "
        f"{report.seconds:,.0f} s of audio in {report.wall_seconds:,.1f} s ({speed:.1f} s audio/s); "
        f"{report.folder}"
    )
