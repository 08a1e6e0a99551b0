"""`ser protocols`, and options of `ser probe` that change one setting: what is trained, and its name."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from printed import last_line

from ser_cache.cli import run
from ser_cache.cli.protocols import changed_protocol
from ser_cache.cli.setting import SETTINGS, assigned, shown
from ser_cache.errors import SerCacheError
from ser_cache.files import sha256_of_value
from ser_cache.heads import HeadOptions
from ser_cache.learning_rate_search import RateSearchOptions
from ser_cache.protocols import PROTOCOLS, protocol_named
from ser_cache.results import list_runs, read_run
from ser_cache.schedules import ScheduleOptions
from ser_cache.training_options import TrainingOptions

CHANGES = {
    "epochs": (3, lambda p: p.training.epochs),
    "learning_rate": (0.01, lambda p: p.training.learning_rate),
    "schedule": ("cosine", lambda p: p.training.schedule.name),
    "batch_size": (7, lambda p: p.training.batch_size),
    "weight_decay": (0.5, lambda p: p.training.weight_decay),
    "hidden": (9, lambda p: p.head.hidden),
    "dropout": (0.4, lambda p: p.head.dropout),
    "patience": (2, lambda p: p.training.patience),
    "select": ("loss", lambda p: p.training.select),
    "class_weights": ("inverse", lambda p: p.training.class_weights),
    "standardise": ("speaker", lambda p: p.standardise),
}


PRESETS = {
    "dasaro2024": "8d0add871279b143",
    "peft-ser": "94142fdfc4587da0",
    "pepino2021": "e11610f04ead2968",
    "superb": "0ac8108a4429389d",
    "ser": "03db81f7f427ea58",
}
"""First digits of the hash of each preset's settings."""

OTHERS = {
    "steps": ("70", 70),
    "steps_between": ("5", 5),
    "drop_last": ("yes", True),
    "betas": ("0.8, 0.99", (0.8, 0.99)),
    "epsilon": ("1e-6", 1e-6),
    "clip_norm": ("2", 2.0),
    "clip_value": ("0.5", 0.5),
    "schedule.factor": ("0.3", 0.3),
    "schedule.patience": ("0", 0),
    "schedule.floor": ("0", 0.0),
    "search.start": ("1e-3", 1e-3),
    "search.epochs": ("2", 2),
    "search.factor": ("0.25", 0.25),
    "search.max_rounds": ("3", 3),
}
"""Settings without an option of their own: as typed, and as kept."""

NEEDED = {"schedule": "schedule=plateau", "search": "search=beam"}


def settings_table(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert run(["protocols", *words]) == 0
    return capsys.readouterr().out.split("\n\n")[1].splitlines()


def test_the_protocols_are_shown_with_their_sources_and_what_differs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["protocols"]) == 0
    shown = capsys.readouterr().out
    for protocol in PROTOCOLS.values():
        assert f"{protocol.name}: {protocol.source}\n  heads: {', '.join(protocol.heads)}" in shown
        assert all(line in shown for line in protocol.differs)


@pytest.mark.parametrize("words", [(), *((name,) for name in PROTOCOLS)])
def test_every_setting_is_shown_in_80_columns(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    heading, *rows = settings_table(capsys, *words)
    assert [row.split()[0] for row in rows] == list(SETTINGS)
    assert max(map(len, (heading, *rows))) <= 80


def test_no_field_of_a_protocol_is_without_a_setting() -> None:
    kept = {
        "head": {field.name for field in fields(HeadOptions)},
        "training": {field.name for field in fields(TrainingOptions)} - {"schedule"},
        "schedule": {field.name for field in fields(ScheduleOptions)},
        "search": {field.name for field in fields(RateSearchOptions)} - {"as_printed"} | {""},
        "protocol": {"standardise"},
    }
    for place, names in kept.items():
        assert {setting.field for setting in SETTINGS.values() if setting.place == place} == names


def test_one_protocol_is_shown_with_how_to_change_it(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row.split()[0]: row.split()[1:] for row in settings_table(capsys, "superb")}
    assert rows["steps"] == ["30000", "--set", "steps="]
    assert rows["learning_rate"] == ["0.0001", "--learning-rate"]
    assert rows["epochs"] == ["--epochs"]  # not looked at: there are steps
    assert rows["search"] == ["none", "--search"]
    assert rows["schedule.floor"] == ["--set", "schedule.floor="]
    assert run(["protocols", "superp"]) == 1
    assert "Did you mean 'superb'?" in last_line(capsys)


def test_what_is_shown_of_a_setting_can_be_typed_for_it() -> None:
    for protocol in PROTOCOLS.values():
        for name, setting in SETTINGS.items():
            if setting.counts(protocol):
                assert assigned([f"{name}={shown(setting.read(protocol))}"]) == {name: setting.read(protocol)}


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_setting_is_changed_with_set(name: str) -> None:
    text, value = OTHERS[name]
    needed = [NEEDED[place] for place in (name.partition(".")[0],) if place in NEEDED]
    for protocol in PROTOCOLS.values():
        changed = changed_protocol(protocol, {"assignments": (f"{name}={text}", *needed)})
        assert SETTINGS[name].read(changed) == value
        told = f"{name.replace('_', ' ').replace('.', ' ')} {shown(value)}"
        assert changed is protocol or told in changed.name.partition(" but ")[2].split(", ")


def test_every_setting_is_tried_here() -> None:
    assert set(OTHERS) | set(CHANGES) | {"search", "warmup_ratio"} == set(SETTINGS)


def test_options_and_set_mean_the_same() -> None:
    for name, (value, _) in CHANGES.items():
        for protocol in PROTOCOLS.values():
            by_option = changed_protocol(protocol, {name: value})
            assert changed_protocol(protocol, {"assignments": (f"{name}={shown(value)}",)}) == by_option


@pytest.mark.parametrize(
    ("assignments", "says"),
    [
        (("beta=1",), "unknown setting 'beta'. Did you mean 'betas'? Known: batch_size"),
        (("betas",), "give a value too, as in --set betas=VALUE"),
        (("betas=0.9",), "betas takes two numbers from 0 to below 1, such as 0.9,0.999"),
        (("betas=0.9,1",), "betas takes two numbers"),
        (("epsilon=0",), "epsilon takes a number above 0"),
        (("clip_norm=nan",), "clip_norm takes a number above 0, or none"),
        (("drop_last=perhaps",), "drop_last takes yes or no"),
        (("steps=1.5",), "steps takes a whole number from 1, or none"),
        (("search=grid",), "search takes none, beam or as-printed"),
        (("clip_norm=1", "clip-norm=2"), "clip_norm was given twice"),
        (("schedule.factor=0.5",), "the schedule 'none' has no factor; add --schedule plateau"),
        (("search.start=1e-3",), "there is no search for a learning rate; add --search beam"),
        (("epochs=3", "steps=4"), "epochs and steps both say how long"),
        (("search=beam", "search.start=1", "learning_rate=2"), "and so is search.start"),
    ],
)
def test_a_mistake_in_set_says_what_is_expected(assignments: tuple[str, ...], says: str) -> None:
    with pytest.raises(SerCacheError, match=re.escape(says)):
        changed_protocol(protocol_named("dasaro2024"), {"assignments": assignments})


def test_an_option_and_set_for_one_setting_are_refused() -> None:
    with pytest.raises(SerCacheError, match="--epochs and --set epochs are the same"):
        changed_protocol(protocol_named("ser"), {"epochs": 3, "assignments": ("epochs=4",)})


# One configuration, one name


@given(st.sampled_from(sorted(PROTOCOLS)), st.data())
def test_a_configuration_has_one_name_however_it_is_asked_for(name: str, data: st.DataObject) -> None:
    """The order of the options does not matter, nor do those that equal what is there already."""
    protocol = protocol_named(name)
    own = {
        key: setting.read(protocol)
        for key, setting in SETTINGS.items()
        if setting.counts(protocol) and key != "search"
    }
    some = {key: st.sampled_from([value, own.get(key, value)]) for key, (value, _) in CHANGES.items()}
    given_ = data.draw(st.fixed_dictionaries({}, optional=some))
    changed = changed_protocol(protocol, given_)
    turned = dict(data.draw(st.permutations(list(given_.items()))))
    assert changed_protocol(protocol, turned) == changed
    told = {key: value for key, value in given_.items() if own.get(key) != value}
    assert changed_protocol(protocol, told).config() == changed.config()
    assert (changed.name == protocol.name) == (changed.config() == protocol.config())


def test_the_same_run_is_found_again_with_options_in_another_order(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    for words in (
        "--epochs 2 --batch-size 16",
        "--batch-size 16 --dropout 0.1 --epochs 2 --set clip_norm=none",
    ):
        assert run(["probe", "--head", "linear", *words.split()]) == 0
        assert "dasaro2024 but epochs 2, batch size 16" in capsys.readouterr().out
    assert len(list_runs(Path("runs"))) == 1


@pytest.mark.parametrize(("name", "digest"), PRESETS.items())
def test_presets_keep_the_settings_that_runs_are_known_by(name: str, digest: str) -> None:
    """A change of these is a new protocol under an old name, and no run of the old one is found again."""
    assert sha256_of_value(protocol_named(name).config()).startswith(digest)


def test_a_rate_beside_a_search_is_where_that_starts() -> None:
    for manner in ("beam", "as-printed"):
        changed = changed_protocol(protocol_named("dasaro2024"), {"search": manner, "learning_rate": 3e-3})
        assert changed.search == RateSearchOptions(start=3e-3, as_printed=manner == "as-printed")
        assert changed.training == protocol_named("dasaro2024").training
        assert changed.name == f"dasaro2024 but search {manner}, search start 0.003"
    ser = protocol_named("ser")
    assert changed_protocol(ser, {"search": "beam", "learning_rate": 1e-4}) is ser
    assert changed_protocol(ser, {"learning_rate": 1e-4}).search is None


def test_a_search_that_is_there_keeps_its_own_settings() -> None:
    changed = changed_protocol(protocol_named("ser"), {"assignments": ("search.max_rounds=2",)})
    assert changed.name == "ser but search max rounds 2"
    assert changed_protocol(changed, {"search": "as-printed"}).search.max_rounds == 2


def test_epochs_instead_of_steps_are_evaluated_each_unless_said_otherwise() -> None:
    superb = protocol_named("superb")
    assert changed_protocol(superb, {"epochs": 3}).training.steps_between == 1
    assert changed_protocol(superb, {"assignments": ("steps=none",)}).training.steps_between == 1
    assert changed_protocol(superb, {"assignments": ("steps=90",)}).training.steps_between == 1_000
    far = changed_protocol(superb, {"epochs": 3, "assignments": ("steps_between=40",)})
    assert far.training.steps_between == 40
    assert far.name == "superb but epochs 3, steps between 40"
    assert changed_protocol(superb, {"epochs": 30}).name == "superb but epochs 30"


@pytest.mark.parametrize("name", CHANGES)
def test_one_setting_can_be_changed_and_the_name_says_so(name: str) -> None:
    value, read = CHANGES[name]
    for protocol in PROTOCOLS.values():
        given = dict.fromkeys(CHANGES) | {name: value}
        changed = changed_protocol(protocol, given)
        assert read(changed) == value
        if changed != protocol:
            told = f"{value:g}" if isinstance(value, float) else value
            assert changed.name == f"{protocol.name} but {name.replace('_', ' ')} {told}"
        others = [key for key in CHANGES if key != name]
        assert all(CHANGES[key][1](changed) == CHANGES[key][1](protocol) for key in others)


def test_what_is_not_changed_is_the_protocol_itself() -> None:
    for protocol in PROTOCOLS.values():
        assert changed_protocol(protocol, dict.fromkeys(CHANGES)) is protocol


def test_a_rate_of_ones_own_ends_the_search_and_epochs_the_steps() -> None:
    ser = protocol_named("ser")
    assert changed_protocol(ser, {"learning_rate": 1e-3}).search is None
    assert changed_protocol(ser, {"search": "none"}).search is None
    assert changed_protocol(ser, {"search": "as-printed"}).search.as_printed
    assert not changed_protocol(protocol_named("dasaro2024"), {"search": "beam"}).search.as_printed
    assert changed_protocol(protocol_named("superb"), {"epochs": 5}).training.passes(100) == 5
    assert changed_protocol(protocol_named("pepino2021"), {"patience": 0}).training.patience is None


def test_a_warm_up_goes_with_a_schedule() -> None:
    schedule = changed_protocol(
        protocol_named("dasaro2024"), {"schedule": "linear", "warmup_ratio": 0.1}
    ).training.schedule
    assert (schedule.name, schedule.warmup_ratio) == ("linear", 0.1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--protocol", "superp"], "unknown protocol 'superp'"),
        (["--schedule", "step"], "unknown schedule 'step'"),
        (["--select", "f1"], "unknown score to select by 'f1'"),
        (["--standardise", "z"], "unknown standardisation 'z'"),
        (["--warmup-ratio", "0.1"], "has no warm-up"),
        (["--layer", "x"], "--layer x is no layer"),
        (["--layer", "9"], "has no layer 9; cached are 1"),
        (["--layer", "all", "--layer", "9"], "has no layer 9; cached are 1"),
        (["--layer", "all", "--layer", "x"], "--layer x is no layer"),
        (["--head", "all", "--head", "suberb"], "unknown head 'suberb'. Did you mean 'superb'?"),
        (["--learning-rate", "nan"], "--learning-rate nan: learning_rate takes a number above 0"),
        (["--set", "clipnorm=1"], "unknown setting 'clipnorm'. Did you mean 'clip_norm'?"),
    ],
)
def test_a_mistake_gets_one_line(
    tones: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    assert run(["probe", "--head", "linear", "--epochs", "1", *words]) == 1
    assert says in last_line(capsys)
    assert not Path("runs").exists() or list_runs(Path("runs")) == []


def test_a_run_is_stored_under_its_changed_protocol_and_its_notes_are_shown(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    words = ["probe", "--protocol", "pepino2021", "--epochs", "1", "--layer", "all"]
    assert run(words) == 0
    assert "pepino2021 but epochs 1" in capsys.readouterr().out
    (folder,) = list_runs(Path("runs"))
    config = read_run(folder).config
    assert (config.head, config.protocol["name"]) == ("pepino", "pepino2021 but epochs 1")
    assert config.protocol["standardise"] == "speaker"
    assert run(["probe", "--protocol", "peft-ser", "--head", "linear"]) == 0
    assert "note: PEFT-SER hears the first 6 s of a clip" in capsys.readouterr().err


def test_all_are_the_protocol_s_heads_and_those_named_beside_it(tones: Path) -> None:
    assert run(["extract", "--model", "mfcc", "--tier", "pooled"]) == 0
    words = ["probe", "--epochs", "1", "--head", "all"]
    assert run([*words, "--head", "superb"]) == 0  # of the protocol's, time means suffice for one
    heads = {read_run(folder).config.head for folder in list_runs(Path("runs"))}
    assert heads == {"linear", "superb"}


def test_a_head_that_is_named_beside_all_is_not_left_out_in_silence(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extract", "--model", "mfcc", "--tier", "pooled"]) == 0
    assert run(["probe", "--epochs", "1", "--head", "all", "--head", "pepino"]) == 1
    assert "the pepino head needs frames" in last_line(capsys)


def test_a_layer_beside_all_is_trained_once(tones: Path) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    assert run(["probe", "--head", "linear", "--epochs", "1", "--layer", "all", "--layer", "1"]) == 0
    assert len(list_runs(Path("runs"))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "loso", "--folds", "4"], "--folds changes nothing of --split loso; it is for folds"),
        (["--split", "loso", "--split-seed", "1"], "--split-seed changes nothing of --split loso"),
        (["--split", "mine", "--folds", "4"], "unknown split 'mine'"),
        (["--head", "multilayer", "--layer", "1"], "multilayer mixes layers: leave it out"),
        (["--head", "linaer"], "unknown head 'linaer'. Did you mean 'linear'? Known: all, linear"),
    ],
)
def test_what_would_change_nothing_is_refused_before_any_work(empty_folder, capsys, arguments, message):
    assert run(["probe", *arguments]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_layer_that_some_heads_have_no_use_for_is_noted(empty_folder, capsys):
    assert (
        run(["probe", "--head", "linear", "--head", "multilayer", "--layer", "1"]) == 1
    )  # nothing is cached
    assert "note: --layer does not concern multilayer, which mixes layers." in capsys.readouterr().err


def test_settings_that_differ_in_the_tenth_digit_have_names_that_differ() -> None:
    names = [
        changed_protocol(protocol_named("dasaro2024"), {"learning_rate": rate}).name
        for rate in (0.001, 0.0010000001)
    ]
    assert names[0] == "dasaro2024 but learning rate 0.001"
    assert len(set(names)) == 2
