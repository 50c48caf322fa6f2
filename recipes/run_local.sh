#!/usr/bin/env bash
# Runs a command on this machine with its output in a log, as Kaldi's run.pl does:
#
#     run_local.sh [--gpu N] [--mem M] [--num-threads N] [JOB=1:N] LOG COMMAND [ARGUMENT...]
#
# JOB=1:N runs N commands at once, with JOB replaced by 1 to N in LOG and in the arguments. The options mean something to
# a cluster's queue only. A single command's output is also shown. When a command fails, so does this one, after showing
# the end of the first failed log.
set -euo pipefail

while [ $# -gt 0 ]; do
    case $1 in
        --gpu | --mem | --num-threads | --max-jobs-run) shift 2 ;;
        *) break ;;
    esac
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

log_of() {
    if [ -n "$job" ]; then printf '%s' "${log//$job/$1}"; else printf '%s' "$log"; fi
}

# Runs job number $1; the rest is the command.
run_job() {
    local number=$1 file status=0
    file=$(log_of "$1")
    shift
    if [ -n "$job" ]; then set -- "${@//$job/$number}"; fi
    mkdir -p "$(dirname "$file")"
    printf '# %s\n# started %s\n' "$*" "$(date)" > "$file"
    if [ -n "$job" ]; then
        "$@" >> "$file" 2>&1 < /dev/null || status=$?
    else
        "$@" 2>&1 < /dev/null | tee -a "$file" || status=$?
    fi
    printf '# ended %s with status %s\n' "$(date)" "$status" >> "$file"
    return "$status"
}

pids=()
for ((number = first; number <= last; number++)); do
    run_job "$number" "$@" &
    pids+=($!)
done
failed=0 failed_log=""
for ((number = first; number <= last; number++)); do
    if ! wait "${pids[number - first]}"; then
        failed=$((failed + 1))
        if [ -z "$failed_log" ]; then failed_log=$(log_of "$number"); fi
    fi
done
if [ "$failed" -gt 0 ]; then
    echo "${0##*/}: $failed of $((last - first + 1)) failed; the end of $failed_log:" >&2
    tail -n 15 "$failed_log" >&2
    exit 1
fi
