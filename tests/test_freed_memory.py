"""Freed memory goes back to the system when it has piled up, and not before."""

import pytest

from ser_cache.extraction import memory
from ser_cache.extraction.memory import GROWTH, WATCHED_BATCHES, FreedMemory

USED = 300 << 20


@pytest.fixture
def process(monkeypatch):
    """A process whose size the test sets, and which shrinks to what is in use when memory is given back."""

    class Process:
        size = USED
        given_back = 0

        def trim(self, _):
            self.given_back += 1
            self.size = USED

    process = Process()
    monkeypatch.setattr(memory, "_anonymous_bytes", lambda: process.size)
    monkeypatch.setattr(memory, "_trim", lambda: process.trim)
    return process


def run(freed, process, sizes):
    for size in sizes:
        process.size = size
        freed.settle()


def test_batches_of_changing_size_give_nothing_back(process):
    freed = FreedMemory()
    run(freed, process, [USED, USED + 3 * GROWTH] * (10 * WATCHED_BATCHES))
    assert process.given_back == 0


def test_what_piles_up_beyond_the_growth_is_given_back_once(process):
    freed = FreedMemory()
    run(freed, process, [USED] * WATCHED_BATCHES + [USED + GROWTH])
    assert process.given_back == 0
    run(freed, process, [USED + GROWTH + 1])
    assert process.given_back == 1


def test_a_process_that_piles_up_for_ever_stays_bounded(process):
    freed, leak = FreedMemory(), GROWTH // 16
    largest = 0
    for _ in range(100 * WATCHED_BATCHES):
        process.size += leak
        largest = max(largest, process.size)
        freed.settle()
    assert process.given_back > 10
    assert largest <= USED + WATCHED_BATCHES * leak + GROWTH + leak


def test_need_is_learned_anew_after_memory_was_given_back(process):
    freed = FreedMemory()
    run(freed, process, [USED + 8 * GROWTH] * WATCHED_BATCHES + [USED + 10 * GROWTH])
    assert process.given_back == 1
    run(freed, process, [USED] * WATCHED_BATCHES + [USED + 2 * GROWTH])
    assert process.given_back == 2


def test_where_the_c_library_cannot_give_back_nothing_breaks(process, monkeypatch):
    monkeypatch.setattr(memory, "_trim", lambda: None)
    run(FreedMemory(), process, [USED] * WATCHED_BATCHES + [USED + 9 * GROWTH] * 3)
    assert process.given_back == 0
