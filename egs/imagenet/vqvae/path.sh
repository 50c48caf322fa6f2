# shellcheck shell=bash
# The recipe's environment; sourced by run.sh, and by jobs on other machines.
AUDIOVQ_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
# shellcheck disable=SC1091  # found at run time
. "$AUDIOVQ_ROOT/recipes/path.sh"
