"""Which run a user means: a folder, a name in the folder of runs, or the beginning of one."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from ser_cache.errors import ResultsError
from ser_cache.results.folder import Run, list_runs, read_run

_LISTED = 5


def run_named(runs: Path, name: str) -> Run:
    """Read the run that a name means.

    A name with a path separator, or that no run begins with, is tried as a folder; what a prefix leaves open
    is not guessed.

    Args:
        runs: the folder of all runs.
        name: a run's folder, its name, or a beginning that only one run's name has.

    Raises:
        ResultsError: there is none, there are several, or it is damaged or of a newer version.
    """
    names = [folder.name for folder in list_runs(runs)]
    if name in names:
        return read_run(runs / name)
    if (Path(name) / "config.json").is_file():
        return read_run(Path(name))
    matches = [known for known in names if name and known.startswith(name)]
    if len(matches) == 1:
        return read_run(runs / matches[0])
    if matches:
        further = f" and {len(matches) - _LISTED} more" if len(matches) > _LISTED else ""
        raise ResultsError(
            f"{len(matches)} runs begin with {name!r}: {', '.join(matches[:_LISTED])}{further}; "
            "give more of the name."
        )
    nearest = get_close_matches(name, names, n=1)
    guess = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ResultsError(f"there is no run {name!r} in {runs}.{guess} List the runs with `ser runs`.")
