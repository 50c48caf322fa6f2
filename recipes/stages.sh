# shellcheck shell=bash
# Numbered stages, and marks that a stage was done; sourced after path.sh, with `stage` and `stop_stage` set.
#
# A stage writes under a temporary name, renames, and leaves a mark with the hash of its inputs and options. Run again
# with the same hash it does nothing and says so; with another, or after an interruption, it is done anew.

# Whether stage $1 is to be run; says so, with what it does ($2).
runs() {
    if [ "${stage:?}" -le "$1" ] && [ "$1" -le "${stop_stage:?}" ]; then echo "stage $1: $2"; else return 1; fi
}

# Prints a hash of all arguments: the contents of a file, the names, sizes and times of all files in a folder, and
# anything else as it is.
fingerprint() {
    local item
    for item in "$@"; do
        printf '%s\n' "$item"
        if [ -d "$item" ]; then
            (cd "$item" && find -L . -type f -printf '%P %s %T@\n' | sort)
        elif [ -f "$item" ]; then
            sha256sum < "$item"
        fi
    done | sha256sum | cut -d ' ' -f 1
}

# Whether mark $1 holds hash $2; says so.
done_before() {
    if [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; then
        echo "done before with the same input and options, nothing to do (remove $1 to do it anew)"
    else
        return 1
    fi
}

# Leaves mark $1 with hash $2.
mark_done() {
    mkdir -p "$(dirname "$1")"
    printf '%s\n' "$2" > "$1.part"
    mv "$1.part" "$1"
}

# Ends the recipe with exit status 1 and a reason.
fail() {
    echo "run.sh: error: $1" >&2
    exit 1
}

# Ends it unless path $1 is there, which stage $2 makes.
need() {
    if [ ! -e "$1" ]; then fail "$1 is missing; run stage $2 first, with the same options"; fi
}
