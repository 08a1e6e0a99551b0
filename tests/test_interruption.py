"""Ctrl-C where Python cannot raise it: it is heard at the next sign of progress, and by nobody else."""

import signal
import sys
import threading
import weakref

import click
import pytest
from printed import last_line

from ser_cache import cli
from ser_cache.cli import interruption, screen


class Thing:
    pass


def strike_where_nothing_can_be_raised():
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
    assert reference() is None


@pytest.fixture(autouse=True)
def _as_in_a_shell(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_lost_ctrl_c_is_raised_where_progress_is_shown():
    with interruption.remembered(), screen.bar("working", 2) as bar:
        bar.update(1)
        strike_where_nothing_can_be_raised()
        with pytest.raises(KeyboardInterrupt):
            bar.update(2)
        bar.update(2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_lost_ctrl_c_prints_no_traceback_and_other_errors_still_do(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: told.append(unraisable.exc_type))
    ours = sys.unraisablehook
    with interruption.remembered():
        strike_where_nothing_can_be_raised()
        assert told == []
        thing = Thing()
        reference = weakref.ref(thing, lambda _: 1 // 0)
        del thing
        assert reference() is None
        assert told == [ZeroDivisionError]
    assert sys.unraisablehook is ours


def test_a_ctrl_c_that_was_heard_is_not_raised_again_by_the_next_command():
    with pytest.raises(KeyboardInterrupt), interruption.remembered():
        signal.raise_signal(signal.SIGINT)
    with interruption.remembered(), screen.bar("working", 1) as bar:
        bar.update(1)


def test_where_ctrl_c_is_ignored_it_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruption.remembered():
        signal.raise_signal(signal.SIGINT)
        interruption.raise_again()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_thread_neither_listens_nor_raises():
    found = []

    def work():
        with interruption.remembered():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def interrupted(monkeypatch, capsys, command, while_working):
    """What a command says last when Ctrl-C strikes in the middle of it."""

    @click.command(command)
    def strike():
        while_working()
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setitem(cli.ser.commands, command, strike)
    assert cli.run([command]) == cli.INTERRUPTED
    return last_line(capsys)


def test_an_interrupted_command_says_what_it_keeps_and_nothing_else(monkeypatch, capsys):
    def nothing():
        pass

    def some():
        interruption.leaves("3 of 9 utterances are kept")

    assert interrupted(monkeypatch, capsys, "extract", some) == "interrupted; 3 of 9 utterances are kept."
    assert interrupted(monkeypatch, capsys, "extract", nothing) == "interrupted."
    assert interrupted(monkeypatch, capsys, "probe", nothing) == (
        "interrupted; finished runs and folds are kept, but for the last seconds: "
        "run the same command to go on."
    )
    assert interrupted(monkeypatch, capsys, "manifest", nothing) == "interrupted."
    assert interruption.KEPT.keys() <= cli.ser.commands.keys()
