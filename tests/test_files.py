"""Whole or absent, also after a power cut: which folders are flushed, and which need not be."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from ser_cache.files import make_folder, sync_folder, write_text
from ser_cache.store import folder_lock


@pytest.fixture
def flushed(monkeypatch) -> set[int]:
    """The inodes of what was flushed."""
    seen: set[int] = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def inodes(root: Path, *names: str) -> set[int]:
    return {(root / name).stat().st_ino for name in names}


def test_every_new_folder_is_flushed_where_it_is_an_entry(tmp_path, flushed):
    make_folder(tmp_path / "cache" / "model" / "corpus")
    assert flushed == inodes(tmp_path, ".", "cache", "cache/model")
    flushed.clear()
    make_folder(tmp_path / "cache" / "model" / "corpus")
    assert not flushed


def test_a_file_in_new_folders_is_flushed_with_all_that_leads_to_it(tmp_path, flushed):
    write_text(tmp_path / "a" / "b" / "text", "content")
    assert inodes(tmp_path, ".", "a", "a/b") <= flushed


def test_the_folders_of_a_cache_are_flushed_before_anything_is_in_them(tmp_path, flushed):
    with folder_lock(tmp_path / "cache" / "model" / "corpus"):
        assert inodes(tmp_path, ".", "cache", "cache/model") <= flushed


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF])
def test_a_file_system_that_flushes_no_folders_is_written_to_all_the_same(tmp_path, monkeypatch, number):
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "new" / "text", "content")
    assert (tmp_path / "new" / "text").read_text() == "content"


def test_a_folder_that_may_be_written_to_and_not_read_is_passed_over(tmp_path, monkeypatch):
    def refuse(*arguments: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    sync_folder(tmp_path)


def test_a_disk_that_cannot_be_written_is_not_passed_over(tmp_path, monkeypatch):
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)
