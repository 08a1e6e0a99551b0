"""One writer per cache folder: a lock that the operating system releases when its holder dies.

The folder is locked and not each part, because a run decides over all its parts at once: what is missing,
which rows to retire, and what goes into new parts, namely whatever no other part holds. Two writers of
different parts of one folder would both add the same new utterances; and they share ``failures.csv``.
"""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from ser_cache.errors import CacheError, LockedError, VanishedPartError
from ser_cache.files import make_folder
from ser_cache.store.part import NO_SPACE, write_error

LOCK_FILE = ".lock"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_TRIES, _SECONDS_BETWEEN_TRIES = 5, 0.02


@contextmanager
def folder_lock(folder: Path, *, enabled: bool = True) -> Iterator[None]:
    """Hold the only right to write to a corpus's folder under a backbone.

    The lock file names host, process and start; it is deleted at the end. After a kill it stays, unlocked,
    and the next writer takes it over.

    Args:
        folder: ``<cache>/<backbone>/<corpus>``; created when absent.
        enabled: False does nothing, for file systems that cannot lock (``--no-lock``).

    Raises:
        LockedError: another process holds it; the message says who.
        CacheError: the folder cannot be written, or its file system cannot lock.
    """
    path = folder / LOCK_FILE
    try:
        make_folder(folder)
        descriptor = _acquire(path) if enabled else None
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        yield
    finally:
        if descriptor is not None:
            # Unlinked while still held: whoever opened the old file sees below that it is no longer the lock.
            # Where the folder was deleted meanwhile, the file of that name is somebody else's.
            if _is_current(path, descriptor):
                path.unlink(missing_ok=True)
            os.close(descriptor)


def require_unlocked(folder: Path) -> None:
    """Say early that somebody is writing to a folder; that nobody will be soon, only `folder_lock` can say.

    Changes nothing. The lock is shared for an instant, so that several who look never see each other.

    Args:
        folder: ``<cache>/<backbone>/<corpus>``; it need not exist.

    Raises:
        LockedError: another process holds it; the message says who.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        _lock(path, descriptor, fcntl.LOCK_SH)
    except LockedError:
        if _is_current(path, descriptor):
            raise
    except (CacheError, OSError):  # cannot be locked, which matters only to those who write
        return
    finally:
        os.close(descriptor)


@contextmanager
def naming_the_writer(folder: Path, *, enabled: bool = True) -> Iterator[None]:
    """Name who is writing to a folder where a part has vanished meanwhile.

    A merge takes parts away from under whoever looks at them without the lock. Not for the holder of the
    lock, who would be told of itself.

    Args:
        folder: ``<cache>/<backbone>/<corpus>``; it need not exist.
        enabled: False does nothing, for file systems that cannot lock (``--no-lock``).

    Raises:
        LockedError: instead of a VanishedPartError, while another process holds the folder.
    """
    try:
        yield
    except VanishedPartError as error:
        if enabled:
            try:
                require_unlocked(folder)
            except LockedError as locked:
                raise locked from error
        raise


def require_writable(folder: Path) -> None:
    """Say early that a folder cannot be written to, or cannot be made.

    Args:
        folder: ``<cache>/<backbone>/<corpus>``; it need not exist.

    Raises:
        CacheError: its file system is read-only, or it belongs to somebody else.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        read_only = os.statvfs(place).f_flag & os.ST_RDONLY
        raise write_error(folder, OSError(errno.EROFS if read_only else errno.EACCES, ""))


def _acquire(path: Path) -> int:
    while True:
        # As open as the umask lets the parts be: one that a kill left behind must not keep a colleague out.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(path, descriptor, fcntl.LOCK_EX)
            if _is_current(path, descriptor):
                _sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    """Name the holder, as far as the disk has room: a run whose parts exist needs no more of it."""
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {started}".encode(), 0)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise


def _lock(path: Path, descriptor: int, kind: int) -> None:
    try:
        _lock_soon(descriptor, kind)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 400, 0).decode(errors="replace") or "another process"
        raise LockedError(
            f"{path.parent} is being written by {holder}: wait for it, or stop it; nothing was changed."
        ) from error
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        raise CacheError(
            f"the file system of {path.parent} cannot lock ({error.strerror}): make sure that nothing else "
            "writes there, and run again with --no-lock."
        ) from error


def _lock_soon(descriptor: int, kind: int) -> None:
    """Try for a moment: whoever only looks, in `require_unlocked`, is in the way for microseconds."""
    for _ in range(_TRIES - 1):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        time.sleep(_SECONDS_BETWEEN_TRIES)
    fcntl.flock(descriptor, kind | fcntl.LOCK_NB)


def _is_current(path: Path, descriptor: int) -> bool:
    """Whether the locked file is still the one at ``path``: its last holder may have deleted it meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
