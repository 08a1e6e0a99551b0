"""Loading ahead of the model, storing behind it, batches beside each other: bounded, and nobody is stuck."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from fake_extraction import content, run
from fake_extractor import FakeExtractor

from ser_cache.errors import CacheError
from ser_cache.extraction import pipeline
from ser_cache.extraction.loading import load_ahead
from ser_cache.extraction.running import ModelThreads
from ser_cache.extraction.writing import BackgroundWriter


def test_a_writer_that_fails_behind_a_full_queue_blocks_nobody():
    begun, errors = threading.Event(), []

    class Broken:
        def write(self, row, features):
            begun.wait(10)
            raise CacheError("no space left")

        def commit(self):
            raise AssertionError("nothing was stored")

    def produce():
        try:
            with BackgroundWriter(Broken(), flush_seconds=60) as sink:
                threading.Timer(0.2, begun.set).start()
                for row in range(10):
                    sink.store([(row, {})])
        except CacheError as error:
            errors.append(str(error))

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    producer.join(10)
    assert not producer.is_alive()
    assert errors == ["no space left"]


@pytest.mark.parametrize("place", ["put", "join"])
def test_a_second_interrupt_on_leaving_waits_until_nothing_is_written_any_more(monkeypatch, place):
    retried, stored = threading.Event(), []

    class Slow:
        def write(self, row, features):
            retried.wait(10)
            stored.append(row)

    sink, interrupts = BackgroundWriter(Slow(), flush_seconds=60), []

    def watched(name, real):
        def call(*arguments, **options):
            if interrupts:
                retried.set()  # whatever it tries next: nothing was written before that
            elif name == place:
                interrupts.append(name)
                raise KeyboardInterrupt("second")
            return real(*arguments, **options)

        return call

    with pytest.raises(KeyboardInterrupt, match="second") as caught, sink:  # noqa: PT012 - leaving raises
        sink.store([(0, {}), (1, {})])
        for owner, name in ((sink._queue, "put"), (sink._thread, "join")):
            monkeypatch.setattr(owner, name, watched(name, getattr(owner, name)))
        raise KeyboardInterrupt("first")
    assert not sink._thread.is_alive()
    assert stored == [0, 1]
    assert str(caught.value.__context__) == "first"


def test_loading_runs_ahead_by_a_bounded_number_of_batches():
    before, started = threading.active_count(), []
    groups = [(place,) for place in range(50)]

    def load_one(place: int) -> int:
        started.append(place)
        return place

    loading = load_ahead(groups, load_one, threads=2)
    for expected, (group, loaded) in enumerate(loading):
        assert group == (expected,)
        assert loaded == [expected]
        assert len(started) <= expected + 3
    assert threading.active_count() == before


def test_abandoned_loading_leaves_no_thread():
    before = threading.active_count()
    loading = load_ahead([(place,) for place in range(50)], lambda place: place, threads=2)
    next(loading)
    assert threading.active_count() > before
    loading.close()
    assert threading.active_count() == before


class Crowded(FakeExtractor):
    """Has memory for one batch at a time."""

    def forward(self, batch, layers, emit):
        with self.counting:
            self.inside.append(len(batch))
            crowded = len(self.inside) > 1
        try:
            time.sleep(0.005)
            if crowded:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            super().forward(batch, layers, emit)
        finally:
            with self.counting:
                self.inside.pop()


def test_a_batch_that_meets_its_end_beside_others_is_run_again_alone_and_whole(folder, corpus, monkeypatch):
    monkeypatch.setattr(pipeline, "model_threads", lambda _: ModelThreads(batches=4, inner=1))
    extractor = Crowded()
    extractor.counting, extractor.inside = threading.Lock(), []
    report = run(corpus, folder, extractor)
    assert not report.failed
    other = folder.with_name("roomy")
    run(corpus, other)
    assert content(folder, corpus.utterances) == content(other, corpus.utterances)


def test_vector_mathematics_is_settled_before_any_thread_may_use_it(folder, corpus, monkeypatch):
    """Where two threads are the first to use it, the roots of one may be rough: see the function."""
    order = []
    settle = pipeline.settle_vector_mathematics
    monkeypatch.setattr(
        pipeline, "settle_vector_mathematics", lambda: (order.append(threading.active_count()), settle())
    )
    extractor = FakeExtractor()
    before = threading.active_count()
    assert run(corpus, folder, extractor).done == len(corpus.utterances)
    assert order == [before]
    assert extractor.batches
