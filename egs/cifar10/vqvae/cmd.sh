# shellcheck shell=bash
# Where jobs run: local (this machine), slurm (sbatch), or one of Kaldi's own scripts, of which `kaldi_parallel` names
# the folder: run.pl, queue.pl (Grid Engine), slurm.pl, ssh.pl.
export cmd_backend=${cmd_backend:-local}
# What sbatch is to be told besides: partition, time, account.
export sbatch_options=${sbatch_options:-}
# shellcheck disable=SC1091  # found at run time
. "$AUDIOVQ_ROOT/recipes/cmd.sh"
