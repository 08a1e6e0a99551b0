"""The command line: ``ser``.

Command bodies are thin: they parse, call the library and print. torch and transformers are imported by the
commands that compute, when they run, so that ``ser --help`` and the listings answer at once.

Exit status of every command: 0 all done; 3 some utterances failed (they are listed, and in a failures file),
or a manifest that was not named cannot be read; 1 the command failed, with one line that says why.
"""

import gc
import os
import sys
from collections.abc import Sequence

import click

from ser_cache import __version__
from ser_cache.cli import interruption, screen
from ser_cache.cli.audit import audit
from ser_cache.cli.baseline import baseline
from ser_cache.cli.cache import cache
from ser_cache.cli.cluster import cluster
from ser_cache.cli.compare import compare
from ser_cache.cli.corpora import corpora
from ser_cache.cli.demo import demo
from ser_cache.cli.describe import describe
from ser_cache.cli.extract import extract
from ser_cache.cli.layers import layers
from ser_cache.cli.manifest import manifest
from ser_cache.cli.models import models
from ser_cache.cli.options import PASSED_OVER
from ser_cache.cli.predict import predict
from ser_cache.cli.probe import probe
from ser_cache.cli.protocols import protocols
from ser_cache.cli.reproduce import reproduce
from ser_cache.cli.runs import runs
from ser_cache.errors import SerCacheError

DONE, FAILED, PARTLY, INTERRUPTED = 0, 1, 3, 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with `ser demo`, which needs no data and no network. Each command has its own --help.",
)
@click.version_option(__version__, prog_name="ser")
@click.pass_context
def ser(context: click.Context) -> None:
    """Run frozen large speech models once, cache their hidden states, and probe them for emotion.

    \b
    ser manifest emovo ~/corpora/EMOVO           list and check a corpus
    ser extract --model xls-r --corpus emovo     run the backbone once, fill the cache
    ser probe --head multilayer                  train heads from the cache
    """  # noqa: D301 - click's mark for "keep these lines" is the backspace character itself
    if what := interruption.KEPT.get(context.invoked_subcommand or ""):
        interruption.leaves(what)


@ser.result_callback()
@click.pass_context
def _status(context: click.Context, status: object) -> int:
    """The status that a command returned, or else whether it had to pass anything over."""
    if isinstance(status, int) and status:
        return status
    return PARTLY if PASSED_OVER in context.meta else DONE


for _command in (
    manifest,
    corpora,
    audit,
    describe,
    extract,
    models,
    probe,
    baseline,
    runs,
    layers,
    cluster,
    compare,
    predict,
    protocols,
    reproduce,
    cache,
    demo,
):
    ser.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status; errors that a user can mend become one line on stderr."""
    try:
        status = run(arguments)
    except BrokenPipeError:  # `ser models | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = DONE
    # What is left of torch is a million objects: to look for cycles among them once more, as the interpreter
    # does at its end, takes one to three seconds.
    gc.freeze()
    sys.exit(status)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status (see the module's docstring)."""
    try:
        with interruption.remembered():
            status = ser.main(arguments, prog_name="ser", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return DONE
    except click.UsageError as error:
        typed = sys.argv[1:] if arguments is None else arguments
        command = error.ctx.command_path if error.ctx else _command_path(typed)
        message = error.format_message()
        stop = "" if message.endswith((".", "?", "?)")) else "."
        return _complain(f"{message}{stop} See `{command} --help`.")
    except click.ClickException as error:
        return _complain(error.format_message())
    except (KeyboardInterrupt, click.Abort):
        click.echo(interruption.farewell(), err=True)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (SerCacheError, OSError) as error:  # the system's are no bugs either, so no traceback
        return _complain(screen.in_a_line(error))
    return status if isinstance(status, int) else DONE


def _command_path(typed: Sequence[str]) -> str:
    """The command that was typed, "ser cache ls": click knows it not where an option lacks its argument."""
    command: click.Command = ser
    path = ["ser"]
    for word in typed:
        if not isinstance(command, click.Group) or word not in command.commands:
            break
        command = command.commands[word]
        path.append(word)
    return " ".join(path)


def _complain(message: str) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return FAILED
