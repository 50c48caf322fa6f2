# shellcheck shell=bash
# How jobs are started: `$cmd [--gpu N] [--mem M] [JOB=1:N] LOG COMMAND...`, the contract of Kaldi's run.pl, slurm.pl and
# queue.pl, any of which can stand here.
export train_cmd="$AUDIOVQ_ROOT/recipes/run_local.sh"
export decode_cmd="$AUDIOVQ_ROOT/recipes/run_local.sh"
