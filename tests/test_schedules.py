"""Schedules against torch's and transformers' own, step by step and epoch by epoch."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from ser_cache.errors import TrainingError, UnknownNameError
from ser_cache.schedules import SCHEDULES, ScheduleOptions, schedule_for, warmup_steps

RATE = 5e-4


def optimiser(rate=RATE):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def reference_rates(get_schedule, total, warmup):
    """The rates that a training loop with transformers' schedule takes its steps with."""
    theirs = optimiser()
    schedule = get_schedule(theirs, warmup, total)
    rates = []
    for _ in range(total):
        rates.append(theirs.param_groups[0]["lr"])
        theirs.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    ("name", "get_schedule"),
    [("linear", get_linear_schedule_with_warmup), ("cosine", get_cosine_schedule_with_warmup)],
)
@pytest.mark.parametrize(
    ("total", "ratio"), [(100, 0.0), (97, 0.1), (30, 0.5), (7, 1.0), (1, 0.0), (3, 0.01)]
)
def test_every_step_has_the_rate_that_transformers_gives_it(name, get_schedule, total, ratio):
    ours = schedule_for(ScheduleOptions(name, warmup_ratio=ratio), RATE, total)
    theirs = reference_rates(get_schedule, total, warmup_steps(total, ratio))
    assert [ours.rate(step) for step in range(total)] == pytest.approx(theirs, rel=1e-12, abs=1e-18)


def test_a_warm_up_is_rounded_up():
    assert [warmup_steps(total, 0.1) for total in (97, 10, 3, 0)] == [10, 1, 1, 0]


@given(
    losses=st.lists(st.sampled_from([2.0, 1.0, 0.99995, 0.9998, 0.5, 0.0, -1.0, math.nan]), max_size=60),
    factor=st.sampled_from([0.5, 0.1, 0.9]),
    patience=st.integers(0, 6),
    floor=st.sampled_from([0.0, 5e-5, 1e-3]),
)
def test_plateau_decides_like_torchs_own(losses, factor, patience, floor):
    ours = schedule_for(ScheduleOptions("plateau", 0.0, factor, patience, floor), RATE, 100)
    theirs = optimiser()
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, mode="min", factor=factor, patience=patience, min_lr=floor
    )
    for epoch, loss in enumerate(losses):
        ours.after_epoch(loss)
        reference.step(loss)
        assert ours.rate(epoch) == theirs.param_groups[0]["lr"]


def test_plateau_halves_after_six_epochs_without_improvement():
    # PEFT-SER's settings: five epochs may pass; 5e-4 falls to 2.5e-4, 1.25e-4, 6.25e-5, and rests on 5e-5.
    schedule = schedule_for(ScheduleOptions("plateau"), 5e-4, 1000)
    rates = []
    for _ in range(31):
        schedule.after_epoch(1.0)
        rates.append(schedule.rate(0))
    assert rates[:7] == [5e-4] * 6 + [2.5e-4]
    assert rates[6::6] == [2.5e-4, 1.25e-4, 6.25e-5, 5e-5, 5e-5]


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "plateau"])
def test_only_plateau_looks_at_the_validation_loss(name):
    schedule = schedule_for(ScheduleOptions(name), RATE, 10)
    before = [schedule.rate(step) for step in range(10)]
    for _ in range(20):
        schedule.after_epoch(9.0)
    assert [schedule.rate(step) for step in range(10)] == before


def test_models_of_one_stack_have_schedules_of_their_own():
    first, second = (schedule_for(ScheduleOptions("plateau", patience=0), rate, 10) for rate in (1e-3, 1e-4))
    for loss in (1.0, 1.0):
        first.after_epoch(loss)
        second.after_epoch(loss)
    assert (first.rate(0), second.rate(0)) == (5e-4, 5e-5)
    first.after_epoch(1.0)
    assert (first.rate(0), second.rate(0)) == (2.5e-4, 5e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_rate_is_never_negative_nor_above_the_full_one(name):
    schedule = schedule_for(ScheduleOptions(name), RATE, 50)
    assert all(0 <= schedule.rate(step) <= RATE for step in range(60))


def test_the_rate_is_constant_by_default():
    schedule = schedule_for(ScheduleOptions(), RATE, 3)
    assert [schedule.rate(step) for step in range(3)] == [RATE] * 3


def test_an_unknown_schedule_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'cosine'\?.*cosine, linear, none, plateau"):
        schedule_for(ScheduleOptions("cosin"), RATE, 10)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "linear", "warmup_ratio": 1.5}, "warm-up ratio of 1.5"),
        ({"name": "plateau", "warmup_ratio": 0.1}, "'plateau' has no warm-up"),
        ({"name": "none", "warmup_ratio": 0.1}, "'none' has no warm-up"),
        ({"name": "plateau", "factor": 1.0}, "factor of 1 lowers nothing"),
        ({"name": "plateau", "patience": -1}, "patience of -1"),
        ({"name": "plateau", "floor": -1e-5}, "floor of -1e-05"),
    ],
)
def test_impossible_settings_get_one_line(options, says):
    with pytest.raises(TrainingError, match=says):
        schedule_for(ScheduleOptions(**options), RATE, 10)
