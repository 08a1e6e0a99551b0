"""Kill an extraction with SIGKILL, by the clock or inside a chosen call, and check what it leaves behind.

The part of `kills.py` that knows no model and no corpus, so that the tests use it with quick stand-ins. Every
attempt is a forked child of a process that has imported everything. The child notes in shared memory which of
the watched calls it is in, so that the parent can say afterwards where a blow struck.

A blow by the clock falls at any moment. A blow inside a call falls in its n-th occurrence, before it, after
it, or, for a write of features, with half of its bytes written: calls that take microseconds would otherwise
never be hit.
"""

import mmap
import os
import random
import shutil
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ser_cache.store import DONE, open_part, part_paths, read_states, verify_part, writer
from ser_cache.store.lock import LOCK_FILE

Call = tuple[str, Any, str]
"""``(phase, owner, attribute)``: a function that is watched while a child runs."""

_WORD = 8  # aligned words, which a kill cannot tear
_WRITES = {4: "writing a state", _WORD: "writing a checksum"}
_FEATURES = "writing features"
_STORE_CALLS: tuple[Call, ...] = (
    ("reserving disk space", os, "posix_fallocate"),
    ("creating a dataset", h5py.h5d, "create"),
    ("flushing a new file", os, "fsync"),
    ("renaming a new file", os, "replace"),
    ("deleting a file", os, "unlink"),
    (_FEATURES, os, "pwrite"),
    ("flushing features or states", writer, "_sync"),
    ("listing failures", writer, "update_failures"),
    ("retiring rows", writer.PartWriter, "supersede"),
)
ELSEWHERE = "elsewhere (planning, queues, start, end)"


@dataclass(frozen=True)
class Job:
    """An extraction that can be started again and again.

    Attributes:
        run: extracts into a folder and checks its own report; runs in a forked child.
        content: everything that readers see of a finished folder, comparable with ``==``.
        calls: watched calls beside those of the store, such as the model's forward.
        start: a folder whose content every round begins with; None for none.
    """

    run: Callable[[Path], None]
    content: Callable[[Path], object]
    calls: tuple[Call, ...] = ()
    start: Path | None = None

    @property
    def phases(self) -> tuple[str, ...]:
        """What a child can be seen doing."""
        own = (phase for phase, _, _ in self.calls)
        return (*own, *(phase for phase, _, _ in _STORE_CALLS), *_WRITES.values())


@dataclass(frozen=True)
class Blow:
    """When a child dies.

    Attributes:
        phase: in a call of this phase; "" by the clock.
        occurrence: in which of those calls, from 1.
        after: after the call rather than before it or half way.
        seconds: by the clock: after so long.
    """

    phase: str = ""
    occurrence: int = 0
    after: bool = False
    seconds: float = 0.0


@dataclass
class Tally:
    """What happened.

    Attributes:
        clock: kills by the clock, by what the child was doing; one kill can count for several threads.
        inside: kills inside a call, by its phase.
        kills: kills in all.
        rounds: folders that were completed and compared.
        resumes: attempts on a folder that an earlier kill had left.
        verified: rows marked done that were read and matched their checksums after kills.
    """

    clock: Counter[str] = field(default_factory=Counter)
    inside: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    rounds: int = 0
    resumes: int = 0
    verified: int = 0


class Watch:
    """Counts of the calls of a child, in memory that survives it.

    Attributes:
        entered: (phases,) how often each phase was entered.
        active: (phases,) how many threads are in it.
    """

    def __init__(self, phases: Sequence[str]) -> None:
        self.phases = list(phases)
        words = np.frombuffer(mmap.mmap(-1, 2 * _WORD * len(self.phases)), dtype=np.int64)
        self.entered, self.active = words.reshape(2, -1)
        self._lock = threading.Lock()

    def totals(self) -> dict[str, int]:
        """How often each phase was entered, without those that never were."""
        return {phase: int(n) for phase, n in zip(self.phases, self.entered, strict=True) if n}

    def current(self) -> list[str]:
        """The phases that were under way when the child died."""
        return [phase for phase, n in zip(self.phases, self.active, strict=True) if n] or [ELSEWHERE]

    @contextmanager
    def during(self, phase: str) -> Iterator[int]:
        """Note that a phase is under way; yields which occurrence it is, from 1."""
        place = self.phases.index(phase)
        with self._lock:
            self.entered[place] += 1
            self.active[place] += 1
            occurrence = int(self.entered[place])
        try:
            yield occurrence
        finally:
            with self._lock:
                self.active[place] -= 1

    def install(self, calls: Sequence[Call], blow: Blow) -> None:
        """Replace functions in this process, a forked child, by ones that count and strike."""
        for phase, owner, attribute in calls:
            setattr(owner, attribute, self._watched(phase, getattr(owner, attribute), blow))

    def _watched(self, usual: str, real: Callable[..., Any], blow: Blow) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the real one takes
            phase = _WRITES.get(len(arguments[1]), usual) if usual == _FEATURES else usual
            with self.during(phase) as occurrence:
                struck = (phase, occurrence) == (blow.phase, blow.occurrence)
                if struck and phase == _FEATURES:
                    descriptor, data, start = arguments
                    real(descriptor, data[: len(data) // 2], start)
                if struck and not blow.after:
                    die()
                result = real(*arguments, **named)
                if struck:
                    die()
                return result

        return call


def die() -> None:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def undisturbed(job: Job, folder: Path) -> tuple[dict[str, int], float]:
    """Run a job to its end in a child; returns how often each phase was entered, and the seconds."""
    _begin(job, folder)
    watch, started = Watch(job.phases), time.monotonic()
    if _attempt(job, folder, watch, Blow(seconds=float("inf"))):
        raise RuntimeError("a run that nobody disturbed was killed")
    return watch.totals(), time.monotonic() - started


def kill_and_resume(job: Job, root: Path, kills: int, seed: int) -> Tally:
    """Extract into one folder after another, killing and resuming, until so many kills have struck.

    Args:
        job: what to run.
        root: where to; the undisturbed run goes to ``root/undisturbed``, the others beside it.
        kills: how many kills.
        seed: of the moments.

    Raises:
        AssertionError: a kill damaged something, a resume failed, or its end differs from the other's.
    """
    dice, tally = random.Random(seed), Tally()  # noqa: S311 - moments, not secrets
    reference = root / "undisturbed"
    totals, seconds = undisturbed(job, reference)
    wanted = job.content(reference), _names(reference)
    while tally.kills < kills:
        folder = root / f"killed-{tally.rounds}"
        _begin(job, folder)
        attempts = 0
        while _strike(job, folder, _draw(dice, totals, seconds), tally):
            attempts += 1
            _check_parts(folder, tally)
        tally.rounds += 1
        tally.resumes += attempts
        # A run killed after its last row leaves its lock file, unlocked; the next finds nothing to lock for.
        found = job.content(folder), [name for name in _names(folder) if name != LOCK_FILE]
        assert found[1] == wanted[1], f"{folder} holds {found[1]}, not {wanted[1]}"
        assert found[0] == wanted[0], f"{folder} differs from the undisturbed run"
        _check_parts(folder, tally)
        shutil.rmtree(folder)
    return tally


def _draw(dice: random.Random, totals: dict[str, int], seconds: float) -> Blow:
    """Half by the clock, half inside a call, every phase as often as any other."""
    if dice.random() < 0.5:
        return Blow(seconds=dice.uniform(0, seconds))
    phase = dice.choice(sorted(totals))
    return Blow(phase, dice.randint(1, totals[phase]), dice.random() < 0.5)


def _strike(job: Job, folder: Path, blow: Blow, tally: Tally) -> bool:
    """One attempt; True when it was killed, False when it came to its end first."""
    watch = Watch(job.phases)
    if not _attempt(job, folder, watch, blow):
        return False
    tally.kills += 1
    if blow.phase:
        tally.inside[blow.phase] += 1
    else:
        tally.clock.update(watch.current())
    return True


def _attempt(job: Job, folder: Path, watch: Watch, blow: Blow) -> bool:
    """Run the job in a child that a blow may strike; True when it did."""
    child = os.fork()
    if child == 0:
        try:
            watch.install((*job.calls, *_STORE_CALLS), blow)
            job.run(folder)
        except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if not blow.phase and blow.seconds < float("inf"):
        time.sleep(blow.seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"died of signal {os.WTERMSIG(status)}"
        return True
    assert os.WEXITSTATUS(status) == 0, f"the run into {folder} failed; see above"
    return False


def _begin(job: Job, folder: Path) -> None:
    if job.start is None:
        folder.mkdir(parents=True)
    else:
        shutil.copytree(job.start, folder)


def _check_parts(folder: Path, tally: Tally) -> None:
    """Check the structure of every part, and the checksum of every row that says it is done."""
    for path in part_paths(folder):
        problems = verify_part(path)
        assert not problems, problems
        tally.verified += int(np.count_nonzero(read_states(open_part(path)) == DONE))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
