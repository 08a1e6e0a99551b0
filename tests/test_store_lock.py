from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ser_cache.errors import CacheError, DamagedPartError, LockedError, StaleCacheError, VanishedPartError
from ser_cache.store import folder_lock, naming_the_writer

HOLDER = """
import sys, time
from pathlib import Path
from ser_cache.store import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "corpus")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_writer_hears_who_holds_the_lock(tmp_path, holder):
    with pytest.raises(LockedError) as caught, folder_lock(tmp_path / "corpus"):
        pass
    message = str(caught.value)
    assert f"process {holder.pid} on {socket.gethostname()}, since 20" in message
    assert "nothing was changed" in message


def test_the_lock_of_a_killed_writer_is_free(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "corpus" / ".lock").exists()
    with folder_lock(tmp_path / "corpus"):
        text = (tmp_path / "corpus" / ".lock").read_text()
        assert text.startswith(f"process {os.getpid()} on")
    assert not (tmp_path / "corpus" / ".lock").exists()


def test_a_lock_is_as_open_to_others_as_the_parts_of_a_shared_cache(tmp_path):
    before = os.umask(0o002)
    try:
        with folder_lock(tmp_path / "corpus"):
            assert (tmp_path / "corpus" / ".lock").stat().st_mode & 0o777 == 0o664
    finally:
        os.umask(before)


def test_without_a_lock_two_may_write(tmp_path, holder):
    with folder_lock(tmp_path / "corpus", enabled=False):
        pass


def test_a_lock_file_replaced_while_waiting_is_not_mistaken_for_the_lock(tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    real, calls = fcntl.flock, []

    def flock(descriptor, operation):
        real(descriptor, operation)
        calls.append(descriptor)
        if len(calls) == 1:
            path.unlink()  # its last holder deletes it between our open and our lock

    monkeypatch.setattr(fcntl, "flock", flock)
    with folder_lock(tmp_path):
        assert len(calls) == 2
        assert path.exists()


def test_a_file_system_that_cannot_lock_is_named_with_the_way_out(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(CacheError, match=r"cannot lock .No locks.*--no-lock"), folder_lock(tmp_path):
        pass
    with folder_lock(tmp_path, enabled=False):
        pass


def test_a_read_only_cache_is_one_clear_line(tmp_path, monkeypatch):
    def refuse(*arguments, **keywords):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CacheError, match=r"cannot be written .Read-only file system.*--cache"):
        folder_lock(tmp_path / "corpus").__enter__()


def test_a_folder_deleted_by_hand_does_not_let_two_writers_in(tmp_path):
    folder = tmp_path / "corpus"
    with folder_lock(folder):
        shutil.rmtree(folder)
        second = folder_lock(folder)
        second.__enter__()
    with pytest.raises(LockedError), folder_lock(folder):
        pass
    second.__exit__(None, None, None)
    with folder_lock(folder):
        pass


def test_a_part_that_vanishes_while_somebody_writes_is_that_ones_doing(tmp_path, holder):
    folder = tmp_path / "corpus"
    named = f"is being written by process {holder.pid} on"
    with pytest.raises(LockedError, match=named), naming_the_writer(folder):
        raise VanishedPartError("part-0000.h5 is not there any more")
    with pytest.raises(VanishedPartError), naming_the_writer(folder, enabled=False):
        raise VanishedPartError("part-0000.h5 is not there any more")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with pytest.raises(VanishedPartError), naming_the_writer(folder):
        raise VanishedPartError("part-0000.h5 is not there any more")


@pytest.mark.parametrize("kind", [CacheError, DamagedPartError, StaleCacheError])
def test_what_is_wrong_with_a_part_itself_is_not_blamed_on_who_writes(tmp_path, kind):
    with folder_lock(tmp_path), pytest.raises(kind, match="the part's own"), naming_the_writer(tmp_path):
        raise kind("the part's own")
