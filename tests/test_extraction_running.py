"""Several batches in the model at once: in order, a few ahead, and nothing lost on an error."""

import threading
import time

import pytest
import torch

from ser_cache.extraction import running
from ser_cache.extraction.running import ModelThreads, Turns, model_threads, run_ahead


@pytest.mark.parametrize("batches", [1, 2, 5])
def test_results_come_in_order_however_long_each_takes(batches):
    def run(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    assert list(run_ahead(range(20), run, ModelThreads(batches, 1))) == [item * item for item in range(20)]


def test_no_more_batches_are_taken_than_threads_can_soon_run():
    taken: list[int] = []

    def items():
        for item in range(50):
            taken.append(item)
            yield item

    results = run_ahead(items(), lambda item: item, ModelThreads(2, 1))
    for seen in range(10):
        assert next(results) == seen
        assert len(taken) <= seen + 1 + 2
    results.close()
    assert len(taken) <= 13


def test_an_error_is_raised_in_its_turn_and_the_threads_end():
    def run(item: int) -> int:
        if item == 3:
            raise KeyError(item)
        return item

    results = run_ahead(range(9), run, ModelThreads(2, 1))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("model")]


def test_each_batch_has_its_own_threads_and_torch_s_number_is_restored():
    before = torch.get_num_threads()
    seen = list(run_ahead(range(4), lambda _: torch.get_num_threads(), ModelThreads(2, 1)))
    assert seen == [1] * 4
    assert torch.get_num_threads() == before
    other: list[int] = []
    thread = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert other == [before]


def test_a_processor_is_filled_and_a_gpu_has_one_batch_waiting_behind_another():
    threads = model_threads("cpu")
    assert 1 <= threads.batches * threads.inner <= torch.get_num_threads()
    assert threads.batches <= 8
    assert model_threads("cuda:0") == ModelThreads(batches=2, inner=1)


@pytest.mark.parametrize(
    ("processors", "batches", "inner"),
    [(1, 1, 1), (2, 2, 1), (8, 8, 1), (12, 6, 2), (15, 7, 2), (16, 8, 2), (20, 6, 3), (64, 8, 8)],
)
def test_few_processors_are_left_over(monkeypatch, processors, batches, inner):
    monkeypatch.setattr(running, "usable_processors", lambda: processors)
    monkeypatch.setattr(torch, "get_num_threads", lambda: processors)
    assert model_threads("cpu") == ModelThreads(batches, inner)


def test_alone_means_alone_and_nobody_waits_for_ever():
    turns, inside, most_beside_alone = Turns(), [0], [0]
    guard = threading.Lock()

    def work(number: int) -> int:
        with turns.shared():
            with guard:
                inside[0] += 1
            time.sleep(0.001)
            with guard:
                inside[0] -= 1
        if number % 3 == 0:
            with turns.alone():
                most_beside_alone[0] = max(most_beside_alone[0], inside[0])
                time.sleep(0.001)
        return number

    assert list(run_ahead(range(40), work, ModelThreads(6, 1))) == list(range(40))
    assert most_beside_alone == [0]
