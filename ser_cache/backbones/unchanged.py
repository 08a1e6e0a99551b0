"""Whether the files of a checkpoint are those that were loaded before, told without reading them.

Loading a model to find that nothing is to be done costs many seconds, all of them for the digest of its
weights. A part of a cache says which files its weights were read from, as the file system knows them. Where
these have not been touched since, the digest is the one on record. In doubt the answer is no.
"""

from __future__ import annotations

import os
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ser_cache.files import sha256_of_value

_READERS = ("transformers", "torch", "safetensors")  # another version may read other weights from a file
_SETTLED = 2.0  # seconds: file systems tell times apart by up to two


def stamp(folder: Path) -> str:
    """What the file system says of a checkpoint's folder, as a digest; equal ones mean untouched files.

    Of every file: its name, its real path, device, inode, size, and the times of its last change of content
    and of attributes. The latter cannot be set by hand, so that a file which is replaced or written to never
    looks the same, whatever its date says. Links, as those of the hub's cache, are followed. The versions of
    the libraries that read the weights count too.

    Empty, which is equal to nothing, where a file was changed so lately that another change might leave no
    trace, where there are folders in the folder, and where it cannot be read.
    """
    files = []
    try:
        for path in sorted(folder.iterdir()):
            if path.is_dir():  # an index may name weights in there
                return ""
            status = path.stat()
            if max(status.st_mtime, status.st_ctime) > time.time() - _SETTLED:
                return ""
            times = (status.st_mtime_ns, status.st_ctime_ns)
            identity = (os.path.realpath(path), status.st_dev, status.st_ino, status.st_size)
            files.append([path.name, *identity, *times])
    except OSError:
        return ""
    return sha256_of_value({"files": files, "readers": [_version(name) for name in _READERS]})


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
