# shellcheck shell=bash
# What every run.sh of numbered stages begins with; sourced after path.sh, with `stage` and `stop_stage` set.

# Whether stage $1 is to be run; says so, with what it does ($2).
runs() {
    if [ "${stage:?}" -le "$1" ] && [ "$1" -le "${stop_stage:?}" ]; then echo "stage $1: $2"; else return 1; fi
}

if ! python -c 'import audiovq' 2> /dev/null; then
    echo "run.sh: error: no audiovq here; run 'make venv' in ${AUDIOVQ_ROOT:?} first" >&2
    exit 1
fi
