#!/usr/bin/env bash
# A speech codec with a fast decoder, from redistributable public speech: how the bundled speech-16k was made. See README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck disable=SC1091
. ./path.sh
# shellcheck disable=SC1091
. ./cmd.sh
# shellcheck disable=SC1091  # found at run time
. "$AUDIOVQ_ROOT/recipes/parse_options.sh"

stage=0
stop_stage=100
sources=""
minivctk=""
conf=conf/speech_16k.yaml
wavenet_conf=conf/speech_16k_wavenet.yaml
wavenet_init=speech-16k
tag=""
train_args=""
checkpoint=latest
nj=2
threads=2
data_dir=data
dump_dir=dump/16k
exp_dir=exp
# shellcheck disable=SC2034  # parse_options reads these two
option_names="stage stop_stage sources minivctk conf wavenet_conf wavenet_init tag train_args checkpoint nj threads data_dir dump_dir exp_dir"
# shellcheck disable=SC2034
help_message="Usage: ./run.sh --sources DIR --minivctk DIR [--option value | --option=value ...]

Stages:
   0  data directories, one per source, and the held-back sets dev and eval: data/*
   1  pack them at 16 kHz: dump/16k/*
   2  train: exp/speech_16k
   3  train a WaveNet over the codes of --wavenet-init: exp/speech_16k_wavenet
   7  score on the held-back clips at each bitrate
   8  the same for what the WaveNet samples, and its bits per sample

Options (relative paths count from this folder):
  --sources DIR     checkouts of the public repositories, see README.md
  --minivctk DIR    a small corpus in VCTK's layout, see README.md
  --stage N         first stage to run                                    [$stage]
  --stop-stage N    last stage to run                                     [$stop_stage]
  --conf FILE       configuration of the training                         [$conf]
  --wavenet-conf FILE  configuration of stage 3                           [$wavenet_conf]
  --wavenet-init MODEL model that stage 3 adds a decoder to               [$wavenet_init]
  --tag NAME        the runs go to exp/speech_16k[_wavenet]_NAME          [none]
  --train-args ARGS more arguments of 'audiovq train'                     [none]
  --checkpoint NAME model to score: best or latest                        [$checkpoint]
  --nj N            parallel jobs                                         [$nj]
  --threads N       CPU threads of training and scoring                   [$threads]
  --data-dir DIR    where data directories go                             [$data_dir]
  --dump-dir DIR    where packs go; conf names dump/16k                   [$dump_dir]
  --exp-dir DIR     where everything trained and made goes                [$exp_dir]"
parse_options "$@"
: "${train_cmd:?cmd.sh must set it}" "${decode_cmd:?cmd.sh must set it}"
# shellcheck disable=SC1091  # found at run time
. "$AUDIOVQ_ROOT/recipes/stages.sh"

training_sets="libri speechocean intent kerstin minivctk"
exp=$exp_dir/speech_16k${tag:+_$tag}
wavenet_exp=$exp_dir/speech_16k_wavenet${tag:+_$tag}

if runs 0 "data directories"; then
    if [ -z "$sources" ] || [ -z "$minivctk" ]; then
        echo "run.sh: error: stage 0 needs --sources and --minivctk; README.md says what to put there" >&2
        exit 2
    fi
    python "$AUDIOVQ_ROOT/recipes/prepare_public_speech.py" --sources "$sources" --minivctk "$minivctk" --out "$data_dir"
fi

if runs 1 "pack"; then
    mkdir -p "$dump_dir"
    for set in $training_sets; do
        python -m audiovq data pack "$data_dir/$set" "$dump_dir/$set" --sample-rate 16000 --trim-db 35 --nj "$nj"
    done
    for set in dev eval; do # held-back clips are scored as they are
        python -m audiovq data pack "$data_dir/$set" "$dump_dir/$set" --sample-rate 16000 --nj "$nj"
    done
fi

if runs 2 "train"; then
    # shellcheck disable=SC2086  # --train-args holds several words
    $train_cmd --num-threads "$threads" "$exp/log/train.log" \
        python -m audiovq train "$conf" --exp "$exp" --threads "$threads" $train_args
fi

if runs 3 "train a WaveNet over the codes"; then
    # shellcheck disable=SC2086  # --train-args holds several words
    $train_cmd --num-threads "$threads" "$wavenet_exp/log/train.log" \
        python -m audiovq train "$wavenet_conf" -o init.model="$wavenet_init" --exp "$wavenet_exp" --threads "$threads" $train_args
fi

if runs 7 "score"; then
    for bitrate in 500 1000 1500 2000; do
        $decode_cmd --num-threads "$threads" "$exp/log/score_$bitrate.log" \
            python -m audiovq evaluate codec --data "$data_dir/eval" --group "$data_dir/eval/utt2group" \
            --model "$exp/models/$checkpoint" --bitrate "$bitrate" --threads "$threads" \
            --json "$exp/scores_${checkpoint}_$bitrate.json"
    done
fi

if runs 8 "score what the WaveNet samples"; then
    model=$wavenet_exp/models/$checkpoint
    $decode_cmd --num-threads "$threads" "$wavenet_exp/log/likelihood.log" \
        python -m audiovq evaluate likelihood --model "$model" --decoder wavenet --pack "$dump_dir/eval" \
        --threads "$threads" --json "$wavenet_exp/likelihood_$checkpoint.json"
    for bitrate in 1000 2000; do
        $decode_cmd --num-threads "$threads" "$wavenet_exp/log/score_$bitrate.log" \
            python -m audiovq evaluate codec --data "$data_dir/eval" --group "$data_dir/eval/utt2group" --model "$model" \
            --decoder wavenet --bitrate "$bitrate" --threads "$threads" --json "$wavenet_exp/scores_${checkpoint}_$bitrate.json"
    done
fi
