"""``ser demo``: the whole way on synthetic speech, for a first look."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from ser_cache.cli import screen
from ser_cache.cli.options import FOLDER

_TRUTH = (
    "The backbone is untrained (random weights) and the speech is synthetic: these numbers show that the "
    "pipeline works, not how well the method does."
)
_NEXT = """\
The same with a real corpus and a real model:
  ser manifest emovo ~/corpora/EMOVO        known ones: `ser corpora`; any other: --table, --pattern
  ser extract --model xls-r --corpus emovo  known ones: `ser models`; or a hub id, or a folder
  ser probe --head all --corpus emovo --split loso --seeds 5"""


@click.command(epilog="Example: ser demo", short_help="The whole way on synthetic speech.")
@click.option("--folder", type=FOLDER, default=Path("demo"), show_default=True, help="Where to put it all.")
@click.option("--seed", default=0, show_default=True, help="Of the speech and of the untrained model.")
def demo(folder: Path, seed: int) -> None:
    """Speak a small emotional corpus in seven languages, extract, and train the three heads on it.

    Needs no network, no data and no GPU, only espeak-ng, which `make` installs; otherwise, in the folder of
    this project: pip install -e '.[demo]'. Killed and started again, it goes on where it was.
    """
    from ser_cache.cli.run_table import show_summaries
    from ser_cache.demo.corpus import DemoOptions
    from ser_cache.demo.run import run_demo

    with ExitStack() as stack:
        steps: dict[str, screen.Bar] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in steps:
                stack.close()
                screen.note(f"{step} ...")
                steps[step] = stack.enter_context(screen.bar(step, total))
            steps[step].restate(done, total)

        report = run_demo(folder, DemoOptions(seed=seed), show)
    made = report.manifest
    spent = f"all of it in {report.seconds:.0f} s"
    if report.resumed:
        spent = f"{report.seconds:.0f} s this time, beside what an earlier run had finished"
    screen.say(
        f"{len(made)} clips, {made.hours * 60:.1f} minutes, {len(made.speakers)} speakers, "
        f"{len(made.emotions)} emotions; {spent}, in {folder}/"
    )
    show_summaries(report.summaries, "Probes: 3 folds, no speaker in two of them")
    screen.say(f"\n{_TRUTH}\n\n{_NEXT}")
