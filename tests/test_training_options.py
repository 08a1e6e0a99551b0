"""What a protocol can ask of training: rates, schedules, an early end, weights, limits, when to look."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training import CLASSES, QUICK, WIDTH, material, model, run, same, source_of
from torch.nn import functional
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from ser_cache.errors import TrainingError, UnknownNameError
from ser_cache.heads import HEADS
from ser_cache.metrics import score
from ser_cache.schedules import SCHEDULES, ScheduleOptions
from ser_cache.training import Sides, batch_order, fit
from ser_cache.training_options import SELECTED_BY, TrainingOptions

LONGER = replace(QUICK, epochs=12)
TRANSFORMERS = {"linear": get_linear_schedule_with_warmup, "cosine": get_cosine_schedule_with_warmup}


def fit_models(models, options=QUICK, key="0", count=50, **arguments):
    states, lengths, labels, sides = material(count)
    return fit(source_of(states, lengths), labels, sides, models, options, key, **arguments)


def test_models_of_different_rates_train_together_as_alone():
    models = [
        model(seed=seed, rate=rate, called=f"{seed} {rate}") for seed in (0, 1) for rate in (1e-3, 1e-2)
    ]
    together = fit_models(models)
    for one in models:
        alone = fit_models([one])
        same(together[one.name], alone[one.name])
    assert together["0 0.001"].log[0].learning_rate == 1e-3
    by_option = fit_models([model(called="m")], replace(QUICK, learning_rate=1e-2))["m"]
    same(by_option, together["0 0.01"])


@pytest.mark.parametrize("name", HEADS)
def test_models_on_different_layers_train_together_as_alone(name):
    models = [
        model(name, seed=seed, place=place, called=f"{place} {seed}") for place in (0, 1) for seed in (0, 3)
    ]
    together = fit_models(models)
    for one in models:
        same(together[one.name], fit_models([one])[one.name])


def test_heads_of_all_kinds_train_in_one_pass_as_alone():
    models = [model(name, seed=1, called=name) for name in HEADS]
    together = fit_models(models)
    for one in models:
        same(together[one.name], fit_models([one])[one.name])


def test_large_batches_train_each_model_by_itself_with_the_same_result(monkeypatch):
    models = [model(name, seed=seed, called=f"{name} {seed}") for name in HEADS for seed in (0, 1)]
    stacked = fit_models(models)
    monkeypatch.setattr("ser_cache.training._FEW_FRAMES", 0)
    apart = fit_models(models)
    for one in models:
        same(stacked[one.name], apart[one.name])


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_followed_alone_as_in_company(name):
    options = replace(LONGER, schedule=ScheduleOptions(name, patience=1, floor=1e-4))
    together = run(seeds=(0, 1), options=options)
    same(together[0], run(seeds=(0,), options=options)[0])
    rates = [entry.learning_rate for entry in together[0].log]
    if name == "none":
        assert set(rates) == {QUICK.learning_rate}
    elif name != "plateau":
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] == pytest.approx(0.0, abs=1e-12)


def test_a_warm_up_begins_at_nothing_and_counts_steps():
    """30 training utterances in batches of 8 are 4 steps an epoch; half of 8 steps are the first epoch."""
    options = replace(QUICK, epochs=2, schedule=ScheduleOptions("linear", warmup_ratio=0.5))
    (result,) = run(options=options).values()
    assert result.log[0].learning_rate == pytest.approx(QUICK.learning_rate)
    assert result.log[1].learning_rate == pytest.approx(0.0)


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("length", [{"epochs": 3}, {"epochs": 99, "steps": 12}])
def test_every_step_is_taken_with_the_rate_that_torch_s_own_schedule_gives_it(name, length):
    """Twelve steps, of which five warm up, in float64 beside torch's Adam and transformers' schedule."""
    states, lengths, labels, _ = material(50)
    sides, options = Sides(np.arange(32), np.arange(32, 40), np.arange(40, 50)), replace(QUICK, **length)
    options = replace(options, schedule=ScheduleOptions(name, warmup_ratio=0.4))
    source = source_of(states, lengths, torch.float64)
    trained = model("nonlinear", seed=2, dropout=0.0, called="m")
    head = HEADS["nonlinear"](1, WIDTH, CLASSES, trained.options, [2]).double()
    adam = {"lr": QUICK.learning_rate, "betas": QUICK.betas, "eps": QUICK.epsilon}
    optimiser = torch.optim.Adam(head.parameters(), weight_decay=QUICK.weight_decay, **adam)
    schedule = TRANSFORMERS[name](optimiser, 5, 12)
    expected = []
    for epoch in (1, 2, 3):
        for chosen in np.split(sides.train[batch_order("0", epoch, 32)], 4):
            batch = source.batch(chosen)
            logits = head.classify_layers(batch.frames, batch.segments)[0]
            optimiser.zero_grad()
            functional.cross_entropy(logits, torch.from_numpy(labels[chosen])).backward()
            optimiser.step()
            schedule.step()
        validated = source.batch(sides.validation)
        with torch.no_grad():
            logits = head.classify_layers(validated.frames, validated.segments)[0]
        expected.append(float(functional.cross_entropy(logits, torch.from_numpy(labels[sides.validation]))))
    result = fit(source, labels, sides, [trained], options, "0")["m"]
    assert [entry.validation_loss for entry in result.log] == pytest.approx(expected, rel=1e-9)


def test_a_plateau_lowers_the_rate_of_the_model_that_stands_still_alone():
    options = replace(QUICK, epochs=20, schedule=ScheduleOptions("plateau", patience=0, floor=1e-6))
    models = [model(seed=0, rate=1.0, called="fast"), model(seed=0, rate=1e-4, called="slow")]
    results = fit_models(models, options)
    assert results["fast"].log[-1].learning_rate < 0.1
    for one in models:
        same(results[one.name], fit_models([one], options)[one.name])
        losses = [entry.validation_loss for entry in results[one.name].log]
        rates = [one.learning_rate, *(entry.learning_rate for entry in results[one.name].log)]
        best = np.minimum.accumulate([np.inf, *losses])[:-1]
        for better, before, after in zip(losses < best * (1 - 1e-4), rates[:-1], rates[1:], strict=True):
            assert after in (before, max(before / 2, 1e-6))
            assert not better or before == after


@pytest.mark.parametrize("patience", [1, 3])
def test_a_model_stops_when_patience_is_over_and_the_others_go_on(patience):
    options = replace(LONGER, epochs=40, patience=patience)
    together = run(seeds=(0, 1, 2), options=options)
    for seed, result in together.items():
        same(result, run(seeds=(seed,), options=options)[seed])
        assert len(result.log) in (result.best_epoch + patience, 40)
    assert all(len(result.log) < 40 for result in together.values())
    patient = run(seeds=(0,), options=replace(options, patience=None))[0]
    for ours, theirs in zip(together[0].log, patient.log, strict=False):
        assert replace(ours, seconds=0) == replace(theirs, seconds=0)


def test_when_all_have_stopped_progress_is_at_its_end():
    told = []
    fit_models([model(called="m")], replace(QUICK, epochs=50, patience=1), on_epoch=told.append)
    assert told[-1] == 50
    assert len(told) < 50


@pytest.mark.parametrize("name", SELECTED_BY)
def test_the_best_epoch_is_best_in_what_is_asked_for(name):
    (result,) = run(options=replace(LONGER, select=name)).values()
    values = [SELECTED_BY[name](entry) for entry in result.log]
    assert result.best_epoch == values.index(max(values)) + 1
    assert result.best_score == max(values)


def test_an_unknown_score_or_weighting_lists_the_known():
    with pytest.raises(UnknownNameError, match="loss, macro_f1, ua, wa"):
        TrainingOptions(select="f1")
    with pytest.raises(UnknownNameError, match="inverse, none"):
        TrainingOptions(class_weights="balanced")


def test_steps_instead_of_epochs_and_evaluations_far_between():
    options = replace(QUICK, steps=20, steps_between=8)
    assert (options.batches(30), options.passes(30)) == (4, 5)
    (result,) = run(options=options).values()
    assert [entry.epoch for entry in result.log] == [2, 4, 5]
    every = run(options=replace(options, steps_between=1))[0]
    assert [entry.epoch for entry in every.log] == [1, 2, 3, 4, 5]
    assert result.log[0].validation_loss == every.log[1].validation_loss
    assert result.best_epoch == max(result.log, key=lambda entry: entry.validation_macro_f1).epoch
    mean = (every.log[0].train_loss + every.log[1].train_loss) / 2
    assert result.log[0].train_loss == pytest.approx(mean)


def test_a_short_last_batch_can_be_left_out():
    assert replace(QUICK, drop_last=True).batches(30) == 3
    assert replace(QUICK, drop_last=True).batches(5) == 1  # of the only batch nothing is left out
    whole, dropped = (run(options=replace(QUICK, drop_last=drop))[0] for drop in (False, True))
    assert not np.array_equal(whole.test_scores, dropped.test_scores)


@pytest.mark.parametrize("limit", [{"clip_norm": 0.05}, {"clip_value": 0.01}, {"class_weights": "inverse"}])
@pytest.mark.parametrize("name", ["nonlinear", "multilayer"])
def test_one_step_equals_torch_s_own_means(name, limit):
    """Gradient limits of torch.nn.utils and the weighted cross-entropy of torch, in float64."""
    states, lengths, labels, _ = material(40)
    labels = np.where(np.arange(40) % 5, labels, 0)  # unequal classes
    sides = Sides(np.arange(20), np.arange(20, 30), np.arange(30, 40))
    options = replace(QUICK, epochs=1, batch_size=20, **limit)
    trained = model(name, seed=2, dropout=0.0, called="m")
    result = fit(source_of(states, lengths, torch.float64), labels, sides, [trained], options, "0")["m"]
    head = HEADS[name](len(trained.places), WIDTH, CLASSES, trained.options, [2]).double()
    parameters = list(head.parameters())
    order = batch_order("0", 1, 20)
    batch = source_of(states, lengths, torch.float64).batch(order)
    weights = None
    if "class_weights" in limit:
        weights = torch.from_numpy(20 / (CLASSES * np.bincount(labels[:20]))).double()
    logits = head.classify_layers(batch.frames, batch.segments)[0]
    functional.cross_entropy(logits, torch.from_numpy(labels[order]), weight=weights).backward()
    if "clip_norm" in limit:
        assert float(torch.nn.utils.clip_grad_norm_(parameters, limit["clip_norm"])) > limit["clip_norm"]
    if "clip_value" in limit:
        torch.nn.utils.clip_grad_value_(parameters, limit["clip_value"])
    adam = {"lr": QUICK.learning_rate, "betas": QUICK.betas, "eps": QUICK.epsilon}
    torch.optim.Adam(parameters, weight_decay=QUICK.weight_decay, **adam).step()
    for key, value in head.state_of(0).items():
        np.testing.assert_allclose(result.weights[key], value.numpy(), rtol=0, atol=1e-9)


def test_limits_hold_for_each_model_of_a_stack_apart():
    options = replace(QUICK, clip_norm=0.05)
    together = run(seeds=(0, 1), options=options)
    for seed in (0, 1):
        same(together[seed], run(seeds=(seed,), options=options)[seed])


def test_a_trial_tests_nothing_and_survives_a_rate_that_diverges():
    models = [model(rate=1e-2, called="good"), model(rate=1e30, called="bad")]
    with pytest.raises(
        TrainingError, match=r"bad: the loss is not finite in epoch 1 at learning rate 1e\+30"
    ):
        fit_models(models)
    results = fit_models(models, trial=True)
    assert np.isnan(results["bad"].best_score)
    assert results["bad"].best_epoch == 0
    assert len(results["good"].test_scores) == 0
    assert results["good"].best_score == fit_models(models[:1])["good"].best_score


def test_wa_of_the_log_is_accuracy():
    (result,) = run(options=QUICK).values()
    states, lengths, labels, sides = material()
    swapped = replace(sides, test=sides.validation)
    shorter = replace(QUICK, epochs=result.best_epoch)
    tested = fit(source_of(states, lengths), labels, swapped, [model(called="m")], shorter, "0")["m"]
    found = score(labels[sides.validation], tested.test_scores.argmax(axis=1), list("abc"))
    assert result.log[result.best_epoch - 1].validation_wa == pytest.approx(found.wa)
