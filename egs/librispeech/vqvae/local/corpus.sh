# shellcheck shell=bash
# LibriSpeech: where it comes from, and how recipes/prepare_librispeech.py is called. Sourced by run.sh.
# shellcheck disable=SC2034,SC2154  # variables go to codec.sh and come from it
title="LibriSpeech train-clean-100 (251 readers, 100 h): VQ-VAE with conversion between readers"
conf=conf/vqvae_25hz.yaml
train_subsets="train-clean-100"
split=closed
allow_partial=false
corpus_options="train_subsets split allow_partial"
corpus_help="

Options of this corpus:
  --train-subsets LIST  to train on: \"train-clean-100 train-clean-360\"      [$train_subsets]
  --split NAME        closed: the last 10 utterances of each reader are eval; open: dev-clean and test-clean [$split]
  --allow-partial BOOL  go on with another number of files than expected    [$allow_partial]"

# SHA-256 sums of the archives at openslr.org/12
librispeech_sums="
dev-clean 76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3
test-clean 39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23
train-clean-100 d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2
train-clean-360 146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf
train-other-500 ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"

download_name=LibriSpeech

download_corpus() {
    local subset sum
    mkdir -p "$1"
    for subset in $train_subsets dev-clean test-clean; do
        sum=$(echo "$librispeech_sums" | awk -v name="$subset" '$1 == name { print $2 }')
        if [ -z "$sum" ]; then fail "--train-subsets: there is no $subset"; fi
        "$AUDIOVQ_ROOT/recipes/download.sh" --sha256 "$sum" --unpack "$download_dir/unpacked/$subset" \
            "$download_dir/$subset.tar.gz" "https://www.openslr.org/resources/12/$subset.tar.gz" \
            "https://us.openslr.org/resources/12/$subset.tar.gz"
        ln -sfn "../unpacked/$subset/LibriSpeech/$subset" "$1/$subset"
    done
}

prepare_corpus() {
    python "$AUDIOVQ_ROOT/recipes/prepare_librispeech.py" --db-root "$db_root" --data-dir "$1" \
        --train-sets "$train_subsets" --split "$split" --allow-partial "$allow_partial"
}
