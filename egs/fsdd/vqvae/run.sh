#!/usr/bin/env bash
# VQ-VAE with a WaveNet decoder (van den Oord et al. 2017) on the Free Spoken Digit Dataset: see README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck disable=SC1091
. ./path.sh
# shellcheck disable=SC1091
. ./cmd.sh
# shellcheck disable=SC1091  # found at run time
. "$AUDIOVQ_ROOT/recipes/parse_options.sh"

stage=-1
stop_stage=100
db_root=""
conf=conf/vqvae.yaml
tag=""
train_args=""
checkpoint=best
nj=2
threads=2
data_dir=data
dump_dir=dump
exp_dir=exp
# shellcheck disable=SC2034  # parse_options reads these two
option_names="stage stop_stage db_root conf tag train_args checkpoint nj threads data_dir dump_dir exp_dir"
# shellcheck disable=SC2034
help_message="Usage: ./run.sh [--option value | --option=value ...]

Stages:
  -1  download the data set to downloads/ (not with --db-root)
   0  data directories: data/{train,dev,test}
   1  pack them at 8 kHz: dump/{train,dev,test}
   2  train the VQ-VAE (exp/vqvae), and the same WaveNet without codes (exp/nocodes)
   3  reconstruct the test set
   4  convert the test set between speakers
   5  train a prior over the codes (not there yet)
   6  sample from the prior (not there yet)
   7  score, and print the tables of RESULTS.md

Options (relative paths count from this folder):
  --stage N         first stage to run                                    [$stage]
  --stop-stage N    last stage to run                                     [$stop_stage]
  --db-root DIR     a checkout of the data set; never written to          [download it]
  --conf FILE       configuration of the training                         [$conf]
  --tag NAME        runs go to exp/vqvae_NAME and exp/nocodes_NAME        [none]
  --train-args ARGS more arguments of 'audiovq train', of both trainings  [none]
  --checkpoint NAME model to score: best or latest                        [$checkpoint]
  --nj N            parallel jobs                                         [$nj]
  --threads N       CPU threads of training and likelihoods               [$threads]
  --data-dir DIR    where data directories go                             [$data_dir]
  --dump-dir DIR    where packs go                                        [$dump_dir]
  --exp-dir DIR     where everything trained and made goes                [$exp_dir]"
parse_options "$@"
: "${train_cmd:?cmd.sh must set it}" "${decode_cmd:?cmd.sh must set it}"

url=https://github.com/Jakobovski/free-spoken-digit-dataset.git
sample_rate=8000
vqvae=$exp_dir/vqvae${tag:+_$tag}
nocodes=$exp_dir/nocodes${tag:+_$tag}
model=$vqvae/models/$checkpoint
scores=$vqvae/scores_$checkpoint

# shellcheck disable=SC1091  # found at run time
. "$AUDIOVQ_ROOT/recipes/stages.sh"

if runs -1 "download"; then
    if [ -n "$db_root" ]; then
        echo "using $db_root"
    elif [ -d downloads/free-spoken-digit-dataset ]; then
        echo "downloads/free-spoken-digit-dataset is there already"
    else
        mkdir -p downloads
        rm -rf downloads/part # of an interrupted download
        git clone --depth 1 "$url" downloads/part
        mv downloads/part downloads/free-spoken-digit-dataset
    fi
fi
db_root=${db_root:-downloads/free-spoken-digit-dataset}

if runs 0 "data directories"; then
    python "$AUDIOVQ_ROOT/recipes/prepare_fsdd.py" --db-root "$db_root" --out "$data_dir"
    python -m audiovq data validate "$data_dir"/{train,dev,test}
fi

if runs 1 "pack"; then
    mkdir -p "$dump_dir"
    for set in train dev test; do
        python -m audiovq data pack "$data_dir/$set" "$dump_dir/$set" --sample-rate "$sample_rate" --nj "$nj"
    done
fi

if runs 2 "train"; then
    train=(python -m audiovq train "$conf" --threads "$threads"
        -o "data.train=[{path: '$dump_dir/train'}]" -o "data.valid='$dump_dir/dev'")
    # shellcheck disable=SC2206  # --train-args holds several words
    train+=($train_args)
    $train_cmd --num-threads "$threads" "$vqvae/log/train.log" "${train[@]}" --exp "$vqvae"
    # The codebook rests in this one, so it needs no k-means to start from.
    $train_cmd --num-threads "$threads" "$nocodes/log/train.log" "${train[@]}" --exp "$nocodes" \
        -o objective.codes=none -o model.quantizer.kmeans_init=false
fi

if runs 3 "reconstruct"; then
    $decode_cmd --num-threads "$nj" "$vqvae/log/reconstruct.log" python local/resynthesize.py reconstruct \
        --model "$model" --data "$data_dir/test" --out "$vqvae/reconstruct_$checkpoint/test" --nj "$nj"
fi

if runs 4 "convert between speakers"; then
    $decode_cmd --num-threads "$nj" "$vqvae/log/convert.log" python local/resynthesize.py convert \
        --model "$model" --data "$data_dir/test" --out "$vqvae/convert_$checkpoint/test" --nj "$nj"
fi

if runs 5 "train a prior"; then
    echo "not there yet: the issue on priors brings it"
fi

if runs 6 "sample from the prior"; then
    echo "not there yet: the issue on priors brings it"
fi

if runs 7 "score"; then
    $decode_cmd --num-threads "$threads" "$vqvae/log/score.log" python local/score.py \
        --model "$model" --nocodes "$nocodes/models/$checkpoint" --data "$data_dir" --pack "$dump_dir/test" \
        --reconstructed "$vqvae/reconstruct_$checkpoint/test" --converted "$vqvae/convert_$checkpoint/test" \
        --out "$scores" --threads "$threads"
fi
