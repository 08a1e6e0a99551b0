"""About the machine that figures were taken on; no figure is printed without it."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine(*libraries: str) -> str:
    """Processor, cores, system, Python, and the versions of libraries that are installed."""
    parts = [
        f"{processor()}, {os.cpu_count()} cores",
        platform.platform(),
        f"Python {platform.python_version()}",
    ]
    for library in libraries:
        try:
            parts.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)


class Stolen:
    """The share of this virtual machine's time that others on the same host took, since it was made.

    What runs beside a measurement elsewhere cannot be seen from inside except by this; from a few percent on,
    a ratio of two times is a matter of luck.
    """

    def __init__(self) -> None:
        self._before = _processor_time()

    def __str__(self) -> str:
        after = _processor_time()
        if self._before is None or after is None:
            return "stolen time is not known on this system"
        stolen, total = (now - then for now, then in zip(after, self._before, strict=True))
        return f"{stolen / max(total, 1):.1%} of the machine's time was stolen by others on its host"


def _processor_time() -> tuple[int, int] | None:
    """Ticks stolen and ticks in all, over all cores; see proc_stat(5)."""
    try:
        ticks = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:9]
    except OSError:
        return None
    return int(ticks[7]), sum(map(int, ticks))


def processor() -> str:
    """The processor's name as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
