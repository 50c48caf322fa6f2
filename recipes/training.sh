# shellcheck shell=bash
# One training as a job of a recipe, that can be told to stop; sourced after stages.sh, with the options of a training set:
# resume, ngpu, num_nodes, threads.

# What every recipe wants to be in order before its first stage.
check_setup() {
    if [ "${num_nodes:?}" -gt 1 ] && [ "${cmd_backend:?}" != slurm ]; then
        _wrong_usage "option --num-nodes needs cmd_backend=slurm (cmd.sh), which is $cmd_backend"
    fi
    if [ ! -f "${conf:?}" ]; then _wrong_usage "option --conf: no such file $conf"; fi
    if ! python -c 'import audiovq' 2> /dev/null; then
        fail "no audiovq here; run 'make venv' in $AUDIOVQ_ROOT first"
    fi
}

# Trains in folder $1, unless it was done before with the inputs of hash $2; the rest goes to `audiovq train`. Ends the
# recipe if it was told to stop.
run_training() {
    local folder=$1 inputs=$2 job=() device=cpu nproc=1 training status=0
    shift 2
    if [ "${resume:?}" = auto ] && [ -f "$folder/trained.json" ] && done_before "$folder/.done" "$inputs"; then return; fi
    if [ "${ngpu:?}" -gt 0 ]; then device=cuda nproc=$ngpu job=(--gpu "$ngpu"); fi
    if [ "${cmd_backend:?}" = slurm ]; then job+=(--num-nodes "${num_nodes:?}"); fi
    rm -f "$folder/log/train.pid"
    ${cuda_cmd:?} "${job[@]}" --num-threads "${threads:?}" "$folder/log/train.log" \
        "$AUDIOVQ_ROOT/recipes/torchrun.sh" --nproc "$nproc" --num-nodes "${num_nodes:?}" \
        --pid-file "$folder/log/train.pid" \
        train "$@" --exp "$folder" --device "$device" --threads "$threads" --resume "$resume" &
    training=$!
    trap 'pass_on "$folder/log/train.pid"' USR1 TERM
    while kill -0 "$training" 2> /dev/null; do
        status=0
        wait "$training" || status=$?
    done
    trap - USR1 TERM
    if [ "$status" -ne 0 ]; then exit "$status"; fi
    if [ ! -f "$folder/trained.json" ]; then
        echo "run.sh: stopped before the end of the training; the same command goes on" >&2
        exit 75 # EX_TEMPFAIL: for a cluster to put it back into the queue
    fi
    if [ -d "$folder/models" ]; then mark_done "$folder/.done" "$inputs"; fi
}

# Tells the training (in a trap) whose torchrun.sh wrote file $1 to save and stop.
# shellcheck disable=SC2329
pass_on() {
    local host="" pid=""
    if [ -f "$1" ]; then read -r host pid < "$1"; fi
    if [ "$host" = "$(hostname)" ]; then kill -USR1 "$pid"; fi
}
