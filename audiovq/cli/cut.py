"""`audiovq cut` and `audiovq cat`: a part of a `.codes` file, and several as one, without encoding again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import click

from audiovq.bitstream import CodesReader, Header, PacketCoder, as_audio
from audiovq.bitstream.edit import cut as cut_codes
from audiovq.bitstream.edit import join
from audiovq.cli.shared.batch import input_file, output_file
from audiovq.data.files import open_output, refuse_input
from audiovq.prior.coder import coder_at_hand, load_coders

FORCE = click.option("--force", is_flag=True, help="Overwrite OUT.")
MODEL = click.option(
    "--model", help="A bundled name or a model folder whose coders to use, not those of the model named."
)


@click.command()
@click.argument("source", metavar="IN.codes")
@click.argument("target", metavar="OUT.codes")
@click.option("--start", type=click.FloatRange(min=0), default=0.0, help="Begin at this second.")
@click.option(
    "--duration", type=click.FloatRange(min=0, min_open=True), help="So many seconds; to the end if not given."
)
@MODEL
@FORCE
def cut(source: str, target: str, start: float, duration: float | None, model: str | None, force: bool) -> None:
    """Copy a part of a recording's codes into a file of its own; - is standard input or output.

    Times are rounded to whole frames (of 20 ms in speech-16k). The part has the samples that lie in its frames.
    """
    _refuse_inputs([source], target)
    with CodesReader(input_file(source), _coders(model)) as reader:
        coder = _coders(model)(as_audio(reader.header, source))
        with open_output(output_file(target, source, ".codes"), force=force) as file:
            cut_codes(reader, file, source, start=start, duration=duration, coder=coder)


@click.command()
@click.argument("sources", metavar="IN.codes...", nargs=-1, required=True)
@click.argument("target", metavar="OUT.codes")
@MODEL
@FORCE
def cat(sources: tuple[str, ...], target: str, model: str | None, force: bool) -> None:
    """Join recordings by one model, one behind the other; - as OUT is standard output.

    Each keeps all its frames: where one is no whole number of frames, what follows comes later by less than a frame.
    """
    _refuse_inputs(sources, target)
    with ExitStack() as stack:
        readers = [stack.enter_context(CodesReader(input_file(source), _coders(model))) for source in sources]
        coder = _coders(model)(as_audio(readers[0].header, sources[0]))
        file = stack.enter_context(open_output(output_file(target, sources[0], ".codes"), force=force))
        join(readers, file, sources, coder)


def _refuse_inputs(sources: tuple[str, ...] | list[str], target: str) -> None:
    for source in sources:
        if "-" not in (source, target):
            refuse_input(source, output_file(target, source, ".codes"))


def _coders(model: str | None) -> Callable[[Header], PacketCoder | None]:
    """What finds the coder of a file: of the model that was named, or of the bundled one that the file names."""
    if model is None:
        return coder_at_hand
    from audiovq.modelfolder import resolve_model

    coders = load_coders(resolve_model(model))
    return lambda header: coders.get(header.coding)
