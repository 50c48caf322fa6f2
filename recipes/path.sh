# shellcheck shell=bash
# The environment of every recipe; sourced by its path.sh, which sets AUDIOVQ_ROOT. It may be sourced twice.
export AUDIOVQ_ROOT
case ":$PATH:" in
    *":$AUDIOVQ_ROOT/.venv/bin:"*) ;;
    *) if [ -d "$AUDIOVQ_ROOT/.venv/bin" ]; then export PATH="$AUDIOVQ_ROOT/.venv/bin:$PATH"; fi ;;
esac
export PYTHONPATH="$AUDIOVQ_ROOT${PYTHONPATH:+:$PYTHONPATH}"  # studies/ is not installed
export LC_ALL=C              # sorting, and so splits, must not depend on the locale
export PYTHONIOENCODING=UTF-8
export OMP_NUM_THREADS=1     # parallel jobs share the cores; --threads gives training more
# glibc gives large blocks back to the system at once and takes them anew at every step, page by page, which costs
# training a good part of its CPU time. With these it keeps them.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592
