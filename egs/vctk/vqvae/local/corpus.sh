# shellcheck shell=bash
# VCTK: where it comes from, and how recipes/prepare_vctk.py is called. Sourced by run.sh.
# shellcheck disable=SC2034,SC2154  # variables go to codec.sh and come from it
title="VCTK (110 speakers of English, 44 h): VQ-VAE with speaker conversion"
conf=conf/vqvae_25hz.yaml
corpus_version=auto
spks=""
mic=mic1
split=closed
require_text=false
trim=auto
allow_partial=false
corpus_options="corpus_version spks mic split require_text trim allow_partial"
corpus_help="

Options of this corpus:
  --corpus-version V  auto, 0.80 or 0.92                                    [$corpus_version]
  --spks LIST         only these speakers: \"p225 p226\"                      [all]
  --mic M             mic1 or mic2, of 0.92                                 [$mic]
  --split NAME        closed, open or valentini: see README.md              [$split]
  --require-text BOOL leave out utterances without text                     [$require_text]
  --trim DB           cut silence at both ends: auto, none, or dB           [$trim]
  --allow-partial BOOL  go on with another number of files than expected    [$allow_partial]"

download_name=VCTK-Corpus-0.92

download_corpus() {
    "$AUDIOVQ_ROOT/recipes/download.sh" --unpack "$1" \
        --sha256 f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c "$1.zip" \
        https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip \
        https://datashare.is.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip
}

prepare_corpus() {
    python "$AUDIOVQ_ROOT/recipes/prepare_vctk.py" --db-root "$db_root" --data-dir "$1" \
        --corpus-version "$corpus_version" --mic "$mic" --split "$split" --require-text "$require_text" \
        --trim "$trim" --speakers "$spks" --allow-partial "$allow_partial"
}
