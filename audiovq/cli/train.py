"""`audiovq train`: from a configuration to checkpoints and model folders."""

import click

from audiovq.cli.shared.options import THREADS


@click.command()
@click.argument("config", type=click.Path(dir_okay=False))
@click.argument("changes", metavar="[CHANGES]...", type=click.Path(dir_okay=False), nargs=-1)
@click.option(
    "--exp", "exp_dir", required=True, type=click.Path(file_okay=False), help="Folder for all that the run makes."
)
@click.option(
    "-o",
    "--override",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace one key, e.g. -o train.max_steps=100.",
)
@click.option("--resume", default="auto", show_default=True, metavar="auto|none|CKPT", help="Where to go on from.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=THREADS, help="CPU threads of each process.")
def train(
    config: str,
    changes: tuple[str, ...],
    exp_dir: str,
    overrides: tuple[str, ...],
    resume: str,
    device: str,
    threads: int | None,
) -> None:
    """Train the model that the YAML file CONFIG describes, with the keys of the files CHANGES in place of its own.

    Run again, it goes on where it stopped. Several processes: torchrun --nproc-per-node N -m audiovq train ...

    SIGTERM, SIGUSR1 and SIGHUP save the run and end it with status 75 (the same command goes on), Ctrl-C with 130.
    """
    from audiovq.train.experiment import load_experiment

    # before the slow imports: a typing error shows at once
    experiment = load_experiment(config, overrides, changes=changes)
    import torch

    from audiovq.train.run import train_until_told

    if threads is not None:
        torch.set_num_threads(threads)
    folder = train_until_told(experiment, exp_dir, resume=resume, device=device)
    click.echo(
        f"models in {folder}: {', '.join(sorted(p.name for p in folder.iterdir())) if folder.is_dir() else 'none yet'}"
    )
