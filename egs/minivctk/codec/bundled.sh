#!/usr/bin/env bash
# The whole of the bundled speech-16k in one command: its codes, with the plain decoder that they are learnt with; the
# decoder with a source over them; a discriminator of formants; sharpening and levels. Takes run.sh's options but
# for folders: what it makes lies in data, dump and exp.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck disable=SC1091
. ./path.sh
./run.sh --conf conf/speech_16k_codes.yaml --checkpoint latest --stop-stage 2 "$@"
./run.sh --conf conf/speech_16k.yaml --stage 2 --stop-stage 2 \
    --train-args "-o init.model=exp/speech_16k_codes/models/latest" "$@"
./run.sh --conf conf/speech_16k.yaml --tag speech_16k_adversarial --stage 2 --stop-stage 2 \
    --train-args "conf/changes/adversarial.yaml -o init.model=exp/speech_16k/models/latest" "$@"
python local/finish.py exp/speech_16k_adversarial/models/latest dump/16000/libri exp/speech-16k \
    --mean-with exp/speech_16k/models/latest --share 0.25 --sharpening 0.2 --evenness 0.5 --tolerance-db 1.0 --tilt-db 2
python -m audiovq evaluate codec --data data/eval --group data/eval/utt2group --model exp/speech-16k \
    --bitrate 0.5k --bitrate 1k --bitrate 2k --judges all
