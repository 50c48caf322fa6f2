# shellcheck shell=bash
# The Free Spoken Digit Dataset: where it comes from, and how it is prepared. Sourced by run.sh.
# shellcheck disable=SC2034,SC2154  # variables go to codec.sh and come from it
title="Free Spoken Digit Dataset (6 speakers, 22 minutes): the paper's VQ-VAE in small"
conf=conf/vqvae.yaml
eval_set="test"
baseline=true           # the same WaveNet without codes
score_args="--templates 4" # an utterance is a word: of each word and speaker 4 recordings
prior_conf=conf/prior.yaml
prior_labels="text speaker" # a prior for digits, and one for voices

download_name=free-spoken-digit-dataset

download_corpus() {
    if [ -d "$1" ]; then
        echo "$1 is there already"
    else
        rm -rf "$1.part" # of an interrupted download
        git clone --depth 1 https://github.com/Jakobovski/free-spoken-digit-dataset.git "$1.part"
        mv "$1.part" "$1"
    fi
}

prepare_corpus() {
    python "$AUDIOVQ_ROOT/recipes/prepare_fsdd.py" --db-root "$db_root" --data-dir "$1"
}
