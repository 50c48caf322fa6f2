# shellcheck shell=bash
# LJSpeech: where it comes from, and how recipes/prepare_ljspeech.py is called. Sourced by run.sh.
# shellcheck disable=SC2034,SC2154  # variables go to codec.sh and come from it
title="LJSpeech (one reader, 24 h): speech codec with a fast decoder"
conf=conf/codec.yaml
bitrates="510 1010 1510 2010"
allow_partial=false
corpus_options="allow_partial"
corpus_help="

Options of this corpus:
  --allow-partial BOOL  go on with another number of files than expected    [$allow_partial]"

download_name=LJSpeech-1.1

download_corpus() {
    "$AUDIOVQ_ROOT/recipes/download.sh" --unpack "$1" \
        --sha256 be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5 "$1.tar.bz2" \
        https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2
}

prepare_corpus() {
    python "$AUDIOVQ_ROOT/recipes/prepare_ljspeech.py" --db-root "$db_root" --data-dir "$1" --allow-partial "$allow_partial"
}
