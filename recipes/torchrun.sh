#!/usr/bin/env bash
# Runs `audiovq ARGUMENTS...` in several processes, through torchrun:
#
#     torchrun.sh [--nproc N] [--num-nodes M] [--pid-file FILE] ARGUMENT...
#
# N processes on this node. With M nodes the same line is run on each, by srun with one task a node (the first node of
# the allocation is the meeting point), or by other means, with MASTER_ADDR and MASTER_PORT set.
#
# Always through torchrun: in a Slurm allocation Lightning's own detection takes the number of processes from Slurm,
# which started one task a node.
#
# SIGUSR1 and SIGTERM tell the training to save a checkpoint and end, which it does with status 0. torchrun itself
# would die of the one, and of the other give its processes 30 seconds and then fail; so they are passed to the
# training's processes here.
set -euo pipefail

nproc=1 num_nodes=1 pid_file=""
while [ $# -gt 0 ]; do
    case $1 in
        --nproc) nproc=$2 ;;
        --num-nodes) num_nodes=$2 ;;
        --pid-file) pid_file=$2 ;;
        *) break ;;
    esac
    shift 2
done
if [ $# -eq 0 ]; then
    echo "usage: ${0##*/} [--nproc N] [--num-nodes M] [--pid-file FILE] ARGUMENT..." >&2
    exit 2
fi

launch=(python -m torch.distributed.run --nproc-per-node "$nproc" --max-restarts 0)
if [ "$num_nodes" -eq 1 ]; then
    launch+=(--standalone)
else
    host=${MASTER_ADDR:-}
    if [ -z "$host" ] && [ -n "${SLURM_JOB_NODELIST:-}" ]; then
        host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    fi
    if [ -z "$host" ]; then
        echo "${0##*/}: error: no meeting point for $num_nodes nodes; set MASTER_ADDR to the first one's name" >&2
        exit 1
    fi
    job=${SLURM_JOB_ID:-0}
    port=${MASTER_PORT:-$((20000 + job % 20000))}
    launch+=(--nnodes "$num_nodes" --rdzv-backend c10d --rdzv-id "$job" --rdzv-endpoint "$host:$port")
fi

told=false
trap 'told=true' USR1 TERM
(
    trap '' USR1 TERM # stays so after exec; the training's processes set their own handlers
    exec "${launch[@]}" -m audiovq "$@"
) &
launcher=$!
if [ -n "$pid_file" ]; then
    mkdir -p "$(dirname "$pid_file")"
    printf '%s %s\n' "$(hostname)" "$$" > "$pid_file"
    trap 'rm -f "$pid_file"' EXIT
fi
status=0
wait "$launcher" || status=$?
while kill -0 "$launcher" 2> /dev/null; do # waiting was broken off by a signal
    # more than once: a process that is just starting does not listen yet
    pkill -USR1 -P "$launcher" || true
    sleep 2 &
    wait $! || true
    if ! kill -0 "$launcher" 2> /dev/null; then
        status=0
        wait "$launcher" || status=$?
    fi
done
if [ "$told" = true ]; then echo "${0##*/}: told to stop; start the same again to go on"; fi
exit "$status"
