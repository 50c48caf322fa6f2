#!/usr/bin/env bash
# From a corpus to a trained and scored codec: ./run.sh --help
# All recipes have the same stages, recipes/codec.sh; what is this one's own is in local/ and conf/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck disable=SC1091
. ./path.sh
# shellcheck disable=SC1091
. ./cmd.sh
# shellcheck disable=SC1091
. ./db.sh
# shellcheck disable=SC1091
. ./local/corpus.sh
# shellcheck disable=SC1091  # found at run time
. "$AUDIOVQ_ROOT/recipes/codec.sh"
