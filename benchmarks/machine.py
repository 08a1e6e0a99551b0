"""One line about the machine that figures were taken on; no figure is printed without it."""

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


def processor() -> str:
    """The processor's name as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
