#!/usr/bin/env bash
# The whole of the bundled speech-16k in one command: its codes, with the plain decoder that they are learnt with, then
# the decoder with a source over them, and its scores. Takes run.sh's options.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
./run.sh --conf conf/speech_16k_codes.yaml --checkpoint latest --stop-stage 2 "$@"
./run.sh --conf conf/speech_16k.yaml --checkpoint latest --stage 2 \
    --train-args "-o init.model=exp/speech_16k_codes/models/latest" "$@"
