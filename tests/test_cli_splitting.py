"""The options of commands that split a corpus."""

import pytest

from ser_cache.cli import run
from ser_cache.cli.splitting import _ratios  # what is typed is tested apart from any command
from ser_cache.errors import SettingsError
from ser_cache.splits import SplitOptions


@pytest.mark.parametrize("text", ["80/10/10", "0.8/0.1/0.1", "8/1/1", "800/100/100"])
def test_ratios_written_differently_are_the_same_split(text: str) -> None:
    assert _ratios(text) == SplitOptions().ratios


@pytest.mark.parametrize(
    "text", ["80/20", "80/10/10/0", "80/20/0", "a/b/c", "", "80/-10/30", "nan/1/1", "inf/1/1"]
)
def test_ratios_that_are_not_three_positive_numbers_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="three positive numbers"):
        _ratios(text)


@pytest.mark.parametrize("text", ["80/10/20", "70/20/20", "60/10/10"])
def test_ratios_in_percent_that_miss_100_are_a_slip(text: str) -> None:
    with pytest.raises(SettingsError, match=r"adds up to \d+ percent"):
        _ratios(text)


def test_ratios_in_parts_or_rounded_percent_are_fine() -> None:
    assert _ratios("3/1/1") == (0.6, 0.2, 0.2)
    assert sum(_ratios("33.3/33.3/33.3")) == pytest.approx(1)


def test_ratios_are_refused_where_the_split_has_no_use_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", "--split", "loso", "--ratios", "70/15/15"]) == 1
    assert "--ratios changes nothing of --split loso" in capsys.readouterr().err
