"""`python -m audiovq`: the command line, also for launchers such as torchrun."""

from audiovq.cli.main import cli

cli()
