"""What `audiovq prior fit --coder` does, and the warning that a simpler prior would be better."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiovq.cli.shared.progress import step_bar
from audiovq.errors import ConfigError

if TYPE_CHECKING:
    from audiovq.prior import CodeItem, CodeSpec

CODERS = ("tables", "learned")  # audiovq.bitstream.coder.Coding, in lower case


def fit_coder(
    name: str,
    spec: CodeSpec,
    items: list[CodeItem],
    held_out: list[CodeItem],
    out: Path,
    config: Path | None,
    overrides: tuple[str, ...],
    *,
    device: str,
    force: bool,
) -> None:
    """Fit one of CODERS, leave it in the folder `out`, and say what held-out codes cost."""
    import numpy as np

    from audiovq.bitstream.coder import Coding
    from audiovq.data.files import check_target
    from audiovq.prior.coder import IntegerCoder, coder_file, save_coder
    from audiovq.train.prior.coder.score import score_coder
    from audiovq.train.prior.coder.tables import fit_tables

    if spec.layout != "sequence":
        raise ConfigError("a coder is for codes of sound, in sequence; .codes files of images are packed")
    if name == "tables" and (config is not None or overrides):
        raise click.UsageError("tables take no --config and no -o")
    file = coder_file(out, Coding[name.upper()])
    out.mkdir(parents=True, exist_ok=True)
    check_target(file, force=force)
    with step_bar(name, "step") as progress:
        if name == "tables":
            coder: IntegerCoder = fit_tables(spec, items, progress=progress)
        else:
            from audiovq.codec.loading import pick_device
            from audiovq.train.config import override, parse_as, read_tree
            from audiovq.train.prior.coder.learned import LearnedCoderConfig, fit_learned

            tree = {} if config is None else read_tree(config)
            for change in overrides:
                override(tree, change)
            settings = parse_as(LearnedCoderConfig, tree, str(config or "coder learned"))
            chosen = str(pick_device(device))
            coder = fit_learned(spec, items, held_out, settings, device=chosen, progress=progress, report=_report)
    bits = score_coder(coder, held_out)
    facts = {"model": spec.model, "codes": spec.fingerprint, "held_out_bits": ",".join(f"{own:.3f}" for own in bits)}
    save_coder(coder, file, {key: value for key, value in facts.items() if value is not None}, force=force)
    click.echo(f"{file}: {file.stat().st_size:,} bytes, fingerprint {coder.fingerprint.hex()}")
    levels = ", ".join(f"{own:.3f}" for own in bits)
    saved = 1 - bits.sum() / np.log2(coder.codebook_sizes).sum()
    click.echo(f"held out: {bits.mean():.4f} bits/code (levels: {levels}), {saved:.1%} less than packed")
    warn_if_worse(name, float(bits.mean()), spec, items, held_out)


def warn_if_worse(
    kind: str, bits_per_code: float, spec: CodeSpec, items: list[CodeItem], held_out: list[CodeItem]
) -> None:
    """Say so on stderr if a simpler prior costs fewer bits on held-out codes."""
    from audiovq.train.prior.simpler import better_and_simpler

    found = better_and_simpler(kind, bits_per_code, spec, items, held_out)
    if found is not None:
        simpler, bits = found
        click.echo(
            f"warning: {kind} costs {bits_per_code:.3f} bits per held-out code, {simpler} only {bits:.3f}; give more"
            f" codes or steps, or take {simpler}",
            err=True,
        )


def _report(line: str) -> None:
    click.echo(line, err=True)
