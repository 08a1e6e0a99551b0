"""`ser protocols`, and options of `ser probe` that change one setting: what is trained, and its name."""

from pathlib import Path

import pytest
from printed import last_line

from ser_cache.cli import run
from ser_cache.cli.protocols import changed_protocol
from ser_cache.protocols import PROTOCOLS, protocol_named
from ser_cache.results import list_runs, read_run

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


def test_the_protocols_are_shown_with_their_settings_and_what_differs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["protocols"]) == 0
    shown = capsys.readouterr().out
    for protocol in PROTOCOLS.values():
        assert f"{protocol.name}: {protocol.source}" in shown
        assert all(line in shown for line in protocol.differs)
    for value in (
        "30000 steps",
        "searched for",
        "plateau",
        "standardised, speaker",
        "value 1",
        "norm 1",
        "inverse",
    ):
        assert value in shown


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
