#!/usr/bin/env bash
# From images to a trained and scored VQ-VAE: ./run.sh --help
# Recipes of images have the same stages, recipes/image.sh; what is this one's own is in local/ and conf/.
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
. "$AUDIOVQ_ROOT/recipes/image.sh"
