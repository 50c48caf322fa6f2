# shellcheck shell=bash
# Redistributable speech out of several public repositories: README.md says what goes where. Sourced by run.sh.
# shellcheck disable=SC2034,SC2154  # variables go to codec.sh and come from it
title="Public speech (7 h, 5 sources): how the bundled speech-16k was made"
conf=conf/speech_16k.yaml
train_sets="libri speechocean intent kerstin minivctk"
pack_args="--trim-db 35"
bitrates="500 1000 1500 2000"
minivctk=""
corpus_options=minivctk
corpus_help="

Options of this corpus:
  --db-root DIR       checkouts of the public repositories, see README.md
  --minivctk DIR      a small corpus in VCTK's layout, see README.md"

prepare_corpus() {
    if [ -z "$minivctk" ]; then fail "stage 0 needs --minivctk; README.md says what to put there"; fi
    python "$AUDIOVQ_ROOT/recipes/prepare_public_speech.py" --sources "$db_root" --minivctk "$minivctk" --data-dir "$1"
}
