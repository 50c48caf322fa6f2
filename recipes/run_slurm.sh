#!/usr/bin/env bash
# Runs a command in Slurm, waits for it, and leaves its output in a log, called as recipes/run_local.sh is:
#
#     run_slurm.sh [--gpu N] [--mem M] [--num-threads N] [--max-jobs-run N] [--num-nodes M] [JOB=1:N] LOG COMMAND...
#
# JOB=1:N becomes an array job. --num-nodes runs COMMAND once on each of M nodes, through srun, and lets Slurm send
# SIGUSR1 five minutes before the time is up, for training to be saved. The environment variable sbatch_options holds
# what the cluster wants besides: "--partition=gpu --time=24:00:00 --account=...".
# On the node the job enters this folder and sources ./path.sh; only PATH is taken over from here.
set -euo pipefail
recipes=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

sbatch_arguments=(--wait --parsable --export=PATH) most="" num_nodes=""
while [ $# -gt 0 ]; do
    case $1 in
        --gpu) sbatch_arguments+=("--gpus-per-node=$2") ;;
        --mem) sbatch_arguments+=("--mem=$2") ;;
        --num-threads) sbatch_arguments+=("--cpus-per-task=$2") ;;
        --max-jobs-run) most=%$2 ;;
        --num-nodes) num_nodes=$2 ;;
        *) break ;;
    esac
    shift 2
done
job="" first=1 last=1
if [[ ${1:-} =~ ^([A-Za-z_]+)=([0-9]+):([0-9]+)$ ]]; then
    job=${BASH_REMATCH[1]} first=${BASH_REMATCH[2]} last=${BASH_REMATCH[3]}
    shift
fi
if [ $# -lt 2 ]; then
    echo "usage: ${0##*/} [JOB=1:N] LOG COMMAND [ARGUMENT...]" >&2
    exit 2
fi
log=$1
shift
mkdir -p "$(dirname "$log")"

command=("$recipes/run_local.sh")
number=""
if [ -n "$job" ]; then
    sbatch_arguments+=("--array=$first-$last$most")
    number="$job=\$SLURM_ARRAY_TASK_ID:\$SLURM_ARRAY_TASK_ID"
fi
if [ -n "$num_nodes" ]; then
    sbatch_arguments+=("--nodes=$num_nodes" --ntasks-per-node=1 --signal=USR1@300)
    set -- srun --kill-on-bad-exit=1 "$@"
fi
name=$(basename "$log" .log)
sbatch_arguments+=("--job-name=${name//$job.}" --output="$log.sbatch")
# shellcheck disable=SC2206  # sbatch_options holds several words
sbatch_arguments+=(${sbatch_options:-})

quoted=$(printf ' %q' "$log" "$@")
script="#!/usr/bin/env bash
cd $(printf '%q' "$PWD") || exit 1
. ./path.sh
$(printf '%q' "${command[@]}") $number$quoted"

if ! printf '%s\n' "$script" | sbatch "${sbatch_arguments[@]}" > /dev/null; then
    for ((i = first; i <= last; i++)); do
        file=$log
        if [ -n "$job" ]; then file=${log//$job/$i}; fi
        if ! tail -n 1 "$file" 2> /dev/null | grep -q 'with status 0$'; then
            echo "${0##*/}: failed; the end of $file (Slurm's own words are in $log.sbatch):" >&2
            tail -n 15 "$file" >&2 || tail -n 15 "$log.sbatch" >&2 || true
            exit 1
        fi
    done
    echo "${0##*/}: sbatch failed; see $log.sbatch" >&2
    exit 1
fi
