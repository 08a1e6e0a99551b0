"""The named errors of the package: each message is one line that names the thing and says what to do next.

Libraries raise these and never print; the command line prints the message after ``error:`` and exits with
status 1. Anything else that escapes is a bug and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class SerCacheError(Exception):
    """Base of every error that a user can cause and mend."""


class SettingsError(SerCacheError):
    """A folder or a remembered corpus root is missing or cannot be used."""


class AudioError(SerCacheError):
    """An audio file is missing, empty, truncated, not audio, or holds samples that are not finite."""


class ManifestError(SerCacheError):
    """A manifest or its source breaks the contract; the message holds the file and the row."""


class SplitError(SerCacheError):
    """A split cannot be made from these utterances, or it breaks what it claims."""


class BackboneError(SerCacheError):
    """A backbone cannot be loaded, or its checkpoint does not hold what it should."""


class CacheError(SerCacheError):
    """A cache file is damaged, incomplete or of another schema."""


class DamagedPartError(CacheError):
    """The structure of a cache file is damaged, so that none of its bytes can be trusted."""


class VanishedPartError(CacheError):
    """A part was deleted or replaced by another process since it was found."""


class StaleCacheError(CacheError):
    """Cached features were made from other audio, weights or options than the ones asked for."""


class LockedError(CacheError):
    """Another process is writing to the same cache."""


class TrainingError(SerCacheError):
    """Training cannot start or go on (a class without training data, a loss that is not finite)."""


class ClusteringError(SerCacheError):
    """Features cannot be clustered: too few utterances, nothing that differs, values that are not finite."""


class ResultsError(SerCacheError):
    """A run folder is damaged, or written by a newer version."""


class PlotError(SerCacheError):
    """A figure cannot be drawn: matplotlib is missing, or the file's suffix names no format."""


class DemoError(SerCacheError):
    """The demonstration lacks something it needs."""


class UnknownNameError(SerCacheError):
    """A name that no registry holds; the message lists the known ones and the nearest match."""

    def __init__(
        self, kind: str, name: str, known: Iterable[str], hint: str = "", guess: bool = True
    ) -> None:
        """Describe the miss.

        Args:
            kind: what was looked up, in the user's words ("backbone", "head", "corpus").
            name: what was asked for.
            known: every name that would have worked.
            hint: what else would work, as a full sentence; optional.
            guess: whether to ask if the nearest known name was meant.
        """
        self.kind, self.name, self.known, self.hint, self.guess = kind, name, sorted(known), hint, guess
        folded = {known.casefold(): known for known in self.known}
        nearest = [folded[match] for match in get_close_matches(name.casefold(), folded, n=1)]
        asked = f" Did you mean {nearest[0]!r}?" if nearest and guess else ""
        listing = f" Known: {', '.join(self.known)}." if self.known else ""
        super().__init__(f"unknown {kind} {name!r}.{asked}{listing}{' ' + hint if hint else ''}")


class ExtractionError(SerCacheError):
    """An utterance could not be extracted, and the extraction was told to stop at the first failure."""
