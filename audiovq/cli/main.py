"""The `audiovq` command group: its commands, and the one place where errors become a line and an exit code.

Commands are imported when they are used, so that `audiovq --help` answers without waiting for torch.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import signal
from typing import Any

import click

from audiovq import __version__
from audiovq.cli.shared.report import error_line, show_notices, show_own_warnings_only
from audiovq.cli.shared.system import EndedBySignalError, ends_by_signals, lasting_streams

# name: (module, attribute, help line). The help stands here so that listing the commands imports none of them.
COMMANDS = {
    "encode": ("audiovq.cli.encode", "encode", "Encode audio files into .codes files."),
    "decode": ("audiovq.cli.decode", "decode", "Decode .codes files into audio files."),
    "convert": ("audiovq.cli.convert", "convert", "Say it again with another speaker's voice."),
    "inspect": ("audiovq.cli.inspect", "inspect", "Show what a .codes file or a model holds."),
    "verify": ("audiovq.cli.inspect", "verify", "Check every packet of a .codes file."),
    "cut": ("audiovq.cli.cut", "cut", "Copy a part of a .codes file."),
    "cat": ("audiovq.cli.cut", "cat", "Join .codes files."),
    "models": ("audiovq.cli.models", "models", "List the bundled models."),
    "demo": ("audiovq.cli.demo", "demo", "Encode and decode a sample; print sizes and speeds."),
    "data": ("audiovq.cli.data", "data", "Check, mend, cut up, join and pack data directories."),
    "train": ("audiovq.cli.train", "train", "Train a model from a configuration."),
    "prior": ("audiovq.cli.prior.group", "prior", "Fit models of codes, score codes, draw new ones."),
    "image": ("audiovq.cli.image.group", "image", "Images: pack them, encode, decode, score."),
    "evaluate": ("audiovq.cli.evaluate", "evaluate", "Score decoded speech against the originals."),
}


class LazyGroup(click.Group):
    """A click group that imports a command on its first use and turns errors into one line on stderr.

    Exit codes: 0 done, 1 the work failed, 2 wrong usage (by click), 128 + N ended by signal N (130: interrupted);
    75 a signal stopped a training, which is saved and goes on with the same command.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with lasting_streams(), ends_by_signals():
            return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, (module, _, _) in COMMANDS.items() if importlib.util.find_spec(module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EndedBySignalError as error:
            click.echo(f"audiovq: ended by {signal.Signals(error.number).name}", err=True)
            ctx.exit(128 + error.number)
        except KeyboardInterrupt as stop:
            click.echo("audiovq: interrupted", err=True)
            ctx.exit(getattr(stop, "exit_code", 130))
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if ctx.params.get("debug") or _is_broken_pipe(error):
                raise  # click ends quietly when the reader of our output has gone
            click.echo(error_line(error), err=True)
            ctx.exit(1)


def _is_broken_pipe(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="audiovq", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Discrete codes of sound: encode speech into a few hundred bytes a second, and back."""
    if not debug:
        show_own_warnings_only()
    show_notices()
