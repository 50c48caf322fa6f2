# shellcheck shell=bash
# The stages of every recipe, from a corpus to a trained and scored codec. Sourced by run.sh after path.sh, cmd.sh,
# db.sh and local/corpus.sh; docs/recipes.md says how a corpus is added.
#
# local/corpus.sh sets `title` and `conf`, may set other defaults, options of its own (`corpus_options`, `corpus_help`)
# and `pack_args`, and defines prepare_corpus DATA_DIR. If the corpus can be downloaded, it defines download_corpus DIR too
# and `download_name`, its folder below --download-dir. Both find the options in variables, the corpus in `db_root`.

# shellcheck disable=SC1091  # found at run time
. "$AUDIOVQ_ROOT/recipes/parse_options.sh"

: "${title:?local/corpus.sh must set it}" "${conf:?local/corpus.sh must set it}"
: "${train_cmd:?cmd.sh must set it}" "${cuda_cmd:?}" "${decode_cmd:?}" "${cmd_backend:?}"
train_sets=${train_sets:-train}
dev_set=${dev_set:-dev}
eval_set=${eval_set:-eval}

stage=-1
stop_stage=100
nj=2
threads=2
num_nodes=1
# one GPU where there is one; a cluster's head node has none, and its nodes do
ngpu=0
if [ "$cmd_backend" != local ] || nvidia-smi -L > /dev/null 2>&1; then ngpu=1; fi
tag=""
train_args=""
resume=auto
checkpoint=best
decoder=""
bitrates="${bitrates:-}"
num_eval=0
pack=true
fs=0
min_duration=0.1
max_duration=0.0
baseline=${baseline:-false}
prior_kind=transformer
prior_conf=${prior_conf:-}
prior_args=""
prior_labels=${prior_labels:-speaker}
top_p=1.0
db_root=${db_root:-}
download_dir=downloads
data_dir=data
dump_dir=dump
exp_dir=exp
# shellcheck disable=SC2034  # parse_options reads these
option_names="stage stop_stage nj threads num_nodes ngpu conf tag train_args resume checkpoint decoder bitrates num_eval
pack fs min_duration max_duration baseline prior_kind prior_conf prior_args prior_labels top_p db_root download_dir data_dir dump_dir exp_dir ${corpus_options:-}"
# shellcheck disable=SC2034
option_aliases="n_jobs=nj n_gpus=ngpu"
# shellcheck disable=SC2034
help_message="$title

Usage: ./run.sh [--option value | --option=value ...]

Stages:
  -1  download the corpus, unless --db-root or db.sh names it
   0  data directories, validated: DATA_DIR/{${train_sets// /,},$dev_set,$eval_set}
   1  resample and pack for training: DUMP_DIR/FS
   2  train: EXP_DIR/TAG
   3  encode and reconstruct the set $eval_set
   4  give it other speakers' voices (a model with speakers)
   5  encode the sets, fit priors over their codes and score them: EXP_DIR/TAG/prior_best
   6  sample from the priors and score what is heard: EXP_DIR/TAG/{samples_best,samples.md}
   7  score: EXP_DIR/TAG/results.md and scores.json

Options (relative paths count from the recipe's folder; _ and - are the same in names):
  --stage N           first stage to run                                    [$stage]
  --stop-stage N      last stage to run                                     [$stop_stage]
  --nj N              parallel jobs (--n-jobs)                              [$nj]
  --threads N         CPU threads of training and scoring                   [$threads]
  --ngpu N            GPUs of a node for training, 0: CPU (--n-gpus)        [$ngpu]
  --num-nodes N       nodes for training (cmd_backend=slurm)                [$num_nodes]
  --conf FILE         configuration of model and training                   [$conf]
  --tag NAME          the run goes to EXP_DIR/NAME                          [the name of conf]
  --train-args ARGS   more arguments of 'audiovq train'                     [none]
  --resume WHAT       auto: go on from the last checkpoint; none; or a file [$resume]
  --baseline BOOL     also train the decoder without codes, to compare      [$baseline]
  --checkpoint NAME   model to decode with and score: best or latest        [$checkpoint]
  --decoder NAME      one of the model's decoders                           [the first]
  --bitrates LIST     also score at these bitrates: \"500 1000\"              [${bitrates:-none}]
  --num-eval N        utterances to decode and score, 0: all of $eval_set
  --pack BOOL         false: train from the audio files as they are         [$pack]
  --fs HZ             sample rate, 0: that of conf                          [$fs]
  --min-duration S    leave out shorter training utterances                 [$min_duration]
  --max-duration S    leave out longer ones, 0: none                        [$max_duration]
  --prior-kind KIND   wavenet, transformer, or a counted one                [$prior_kind]
  --prior-conf FILE   configuration of the priors over the defaults         [${prior_conf:-none}]
  --prior-args ARGS   more arguments of 'audiovq prior fit'                 [none]
  --prior-labels LIST  what priors are told, one for each: \"speaker\", none [$prior_labels]
  --top-p P           draw from the fewest codes of this probability        [$top_p]
  --db-root DIR       the corpus, never written to                          [db.sh: ${db_root:-none}]
  --download-dir DIR  where it is downloaded to                             [$download_dir]
  --data-dir DIR      where data directories go                             [$data_dir]
  --dump-dir DIR      where packs go                                        [$dump_dir]
  --exp-dir DIR       where everything trained and made goes                [$exp_dir]${corpus_help:-}"

main() {
    parse_options "$@"
    # shellcheck disable=SC1091  # found at run time
    . "$AUDIOVQ_ROOT/recipes/stages.sh"
    # shellcheck disable=SC1091  # found at run time
    . "$AUDIOVQ_ROOT/recipes/training.sh"
    check_setup
    tag=${tag:-$(basename "$conf" .yaml)}
    exp=$exp_dir/$tag
    model=$exp/models/$checkpoint
    resynthesize=$AUDIOVQ_ROOT/recipes/resynthesize.py
    if [ "$fs" -eq 0 ]; then
        fs=$(python -c 'import sys, yaml; print(yaml.safe_load(open(sys.argv[1]))["model"]["sample_rate"])' "$conf")
    fi
    corpora=$dump_dir/$fs
    if [ "$pack" = false ]; then corpora=$data_dir; fi
    decode_args=()
    if [ -n "$decoder" ]; then decode_args=(--decoder "$decoder"); fi

    if runs -1 "download"; then stage_download; fi
    if runs 0 "data directories"; then stage_data; fi
    if runs 1 "pack"; then stage_pack; fi
    if runs 2 "train"; then stage_train; fi
    if runs 3 "encode and reconstruct"; then stage_reconstruct; fi
    if runs 4 "convert between speakers"; then stage_convert; fi
    if runs 5 "priors"; then stage_prior; fi
    if runs 6 "sample from the priors"; then stage_sample; fi
    if runs 7 "score"; then stage_score; fi
}

stage_download() {
    if [ -n "$db_root" ]; then
        echo "using $db_root"
    elif [ -n "${download_name:-}" ]; then
        mkdir -p "$download_dir"
        download_corpus "$download_dir/$download_name"
    else
        fail "this corpus has to be fetched by hand (README.md says where); name its folder with --db-root"
    fi
}

stage_data() {
    local inputs name options=()
    if [ -z "$db_root" ]; then
        if [ -z "${download_name:-}" ]; then fail "name the corpus' folder with --db-root, or in db.sh"; fi
        db_root=$download_dir/$download_name
        need "$db_root" -1
    fi
    for name in ${corpus_options:-}; do options+=("$name=${!name}"); done
    inputs=$(fingerprint "$db_root" local/corpus.sh "$AUDIOVQ_ROOT"/recipes/prepare_*.py "${options[@]}")
    for name in $train_sets "$dev_set" "$eval_set"; do
        if [ ! -d "$data_dir/$name" ]; then rm -f "$data_dir/.done"; fi
    done
    if done_before "$data_dir/.done" "$inputs"; then return; fi
    rm -rf "$data_dir/.making" "$data_dir/.done"
    mkdir -p "$data_dir/.making"
    prepare_corpus "$data_dir/.making"
    python -m audiovq data validate --any-rate "$data_dir"/.making/* # packing resamples
    for name in "$data_dir"/.making/*; do
        rm -rf "${data_dir:?}/$(basename "$name")"
        mv "$name" "$data_dir/"
    done
    rmdir "$data_dir/.making"
    mark_done "$data_dir/.done" "$inputs"
}

stage_pack() {
    local set limits
    if [ "$pack" = false ]; then
        echo "not packed (--pack false): training reads the audio files of $data_dir"
        return
    fi
    mkdir -p "$corpora"
    for set in $train_sets "$dev_set" "$eval_set"; do
        need "$data_dir/$set/wav.scp" 0
        limits=()
        case " $train_sets " in
            *" $set "*)
                limits=(--min-seconds "$min_duration")
                case $max_duration in 0 | 0.0) ;; *) limits+=(--max-seconds "$max_duration") ;; esac
                # shellcheck disable=SC2206  # several words
                limits+=(${pack_args:-})
                ;;
        esac # what is held back is packed as it is
        $train_cmd --num-threads "$nj" "$corpora/log/pack_$set.log" \
            python -m audiovq data pack "$data_dir/$set" "$corpora/$set" --sample-rate "$fs" --nj "$nj" "${limits[@]}"
    done
}

stage_train() {
    local set
    for set in $train_sets "$dev_set"; do
        if [ "$pack" = true ]; then need "$corpora/$set/index.json" 1; else need "$corpora/$set/wav.scp" 0; fi
    done
    train_model "$exp"
    if [ "$baseline" = true ]; then
        # the codebook rests in this one, so it needs no k-means to start from
        train_model "${exp}_nocodes" -o objective.codes=none -o model.quantizer.kmeans_init=false
    fi
}

# Trains what `conf` describes to folder $1, with further arguments.
train_model() {
    local folder=$1 words=() set files
    shift
    read -r -a words <<< "$train_args"
    files=("$conf")
    for set in $train_sets "$dev_set"; do
        if [ "$pack" = true ]; then files+=("$corpora/$set/index.json"); else files+=("$corpora/$set"/{wav.scp,utt2spk}); fi
    done
    run_training "$folder" "$(fingerprint "${files[@]}" "$fs" "$train_args" "$@")" "$conf" \
        -o "data.root=$corpora" -o "model.sample_rate=$fs" "$@" "${words[@]}"
    if [ ! -d "$folder/models" ]; then
        fail "no model came out: train.max_steps has to lie beyond objective.quantize_from_step, when codes come in"
    fi
}

# Prints the data directory of what is decoded: all of the evaluation set, or --num-eval of it.
eval_data() {
    local all=$data_dir/$eval_set part=$data_dir/${eval_set}_$num_eval
    need "$all/wav.scp" 0
    if [ "$num_eval" -eq 0 ]; then
        echo "$all"
    else
        if [ ! "$part/wav.scp" -nt "$all/wav.scp" ]; then
            python -m audiovq data subset "$all" "$part" --number "$num_eval" --force >&2
        fi
        echo "$part"
    fi
}

stage_reconstruct() {
    local data
    need "$model/config.json" 2
    data=$(eval_data)
    encode_codes "$data"
    decode_codes reconstruct "$data"
}

# Sound of the codes of data directory $2; $1 is reconstruct or convert.
decode_codes() {
    local codes out
    codes=$exp/codes_$checkpoint/$(basename "$2")
    out=$exp/$1_$checkpoint/$(basename "$2")
    need "$codes/codes" 3
    run_jobs "$1" "$2" "$out" "$(fingerprint "$codes.done" "$resynthesize" "$decoder")" --codes "$codes/codes" \
        "${decode_args[@]}"
}

# Runs resynthesize.py $1 on data directory $2 in parallel jobs, which make folder $3, unless that was done before with
# inputs of hash $4; the rest are more options.
run_jobs() {
    local what=$1 data=$2 out=$3 inputs=$4
    shift 4
    if [ ! -d "$out" ]; then rm -f "$out.done"; fi
    if done_before "$out.done" "$inputs"; then return; fi
    rm -f "$out.done"
    $decode_cmd JOB=1:"$nj" "$exp/log/${what}_${checkpoint}_$(basename "$data").JOB.log" \
        python "$resynthesize" "$what" --model "$model" --data "$data" --out "$out" --job JOB --jobs "$nj" "$@"
    python "$resynthesize" join --out "$out" --jobs "$nj"
    mark_done "$out.done" "$inputs"
    rm -rf "$out.parts"
}

stage_convert() {
    need "$model/config.json" 2
    if [ ! -f "$exp/spk2idx" ]; then
        echo "no conversion: the model knows no speakers (model.speaker_dim is 0)"
    else
        decode_codes convert "$(eval_data)"
    fi
}

# Sets `priors`, the names of all that are fitted: "any" is told nothing. Counted ones can't be told anything, and a
# model that knows no speakers can't say a code in the voice that a prior was told.
name_priors() {
    local label
    priors=(any)
    case $prior_kind in wavenet | transformer) ;; *) return ;; esac
    for label in $prior_labels; do
        case $label in
            none) ;;
            text) priors+=(text) ;;
            speaker) if [ -f "$exp/spk2idx" ]; then priors+=(speaker); fi ;;
            *) fail "--prior-labels: $label is neither text nor speaker" ;;
        esac
    done
}

# Prints the table of a data directory that says what prior $1 is told.
label_table() {
    case $1 in speaker) echo utt2spk ;; *) echo "$1" ;; esac
}

stage_prior() {
    local set data name inputs
    need "$model/config.json" 2
    data=$(eval_data)
    need "$exp/codes_$checkpoint/$(basename "$data")/codes" 3
    for set in $train_sets "$dev_set"; do encode_codes "$data_dir/$set"; done
    name_priors
    for name in "${priors[@]}"; do fit_prior "$name" "$data"; done
}

# The codes of all utterances of data directory $1.
encode_codes() {
    local inputs
    need "$1/wav.scp" 0
    inputs=$(fingerprint "$model/config.json" "$model/model.safetensors" "$1"/{wav.scp,segments,utt2spk} "$resynthesize")
    run_jobs encode "$1" "$exp/codes_$checkpoint/$(basename "$1")" "$inputs"
}

# Fits prior $1 and scores it on the codes of data directory $2. A run that was interrupted goes on.
fit_prior() {
    local folder=$exp/prior_$checkpoint/$1 all=$exp/codes_$checkpoint eval_codes words=() codes=() marks=() own=()
    local scored=() device=cpu job=() inputs set
    eval_codes=$all/$(basename "$2")
    read -r -a words <<< "$prior_args"
    for set in $train_sets; do codes+=("$all/$set/codes"); done
    for set in $train_sets "$dev_set"; do marks+=("$all/$set.done"); done
    inputs=$(fingerprint "${marks[@]}" "$eval_codes.done" "$prior_kind" "$prior_conf" "$prior_args")
    if done_before "$folder/.done" "$inputs"; then return; fi
    if [ ! -f "$folder/.begun" ] || [ "$(cat "$folder/.begun")" != "$inputs" ]; then
        rm -rf "$folder"
        mark_done "$folder/.begun" "$inputs"
    fi
    if [ "$1" != any ]; then
        for set in $train_sets "$dev_set"; do cat "$data_dir/$set/$(label_table "$1")"; done > "$folder/labels"
        own+=(--by-label --labels "$folder/labels")
        scored=(--labels "$2/$(label_table "$1")")
    fi
    case $prior_kind in
        wavenet | transformer)
            if [ "$ngpu" -gt 0 ]; then device=cuda job=(--gpu 1); fi
            own+=(--device "$device")
            if [ -n "$prior_conf" ]; then own+=(--config "$prior_conf"); fi
            ;;
        *) own+=(--force) ;; # counted anew
    esac
    $cuda_cmd "${job[@]}" --num-threads "$threads" "$exp/log/prior_${checkpoint}_$1.log" \
        python -m audiovq prior fit --kind "$prior_kind" --out "$folder" --threads "$threads" "${codes[@]}" \
        --valid "$all/$dev_set/codes" "${own[@]}" "${words[@]}"
    $decode_cmd --num-threads "$threads" "$exp/log/prior_score_${checkpoint}_$1.log" \
        python -m audiovq prior score "$folder" "$eval_codes/codes" --json "$folder/eval.json" --threads "$threads" \
        "${scored[@]}"
    mark_done "$folder/.done" "$inputs"
}

stage_sample() {
    local data set name out=$exp/samples_$checkpoint inputs words=()
    need "$model/config.json" 2
    data=$(eval_data)
    set=$(basename "$data")
    name_priors
    for name in "${priors[@]}"; do
        need "$exp/prior_$checkpoint/$name/.done" 5
        draw_samples "$name" "$data"
    done
    case " ${score_args:-} " in *" --templates "*) words=(--words) ;; esac
    inputs=$(fingerprint "$out"/*.done "$data/wav.scp" "$AUDIOVQ_ROOT/recipes/score_samples.py")
    if ! done_before "$out/.done" "$inputs"; then
        $decode_cmd --num-threads "$threads" "$exp/log/score_samples_$checkpoint.log" \
            python "$AUDIOVQ_ROOT/recipes/score_samples.py" --data "$data" --train "$data_dir/${train_sets%% *}" \
            --reconstructed "$exp/reconstruct_$checkpoint/$set" --priors "$exp/prior_$checkpoint" --samples "$out" \
            --out "$out" --threads "$threads" "${words[@]}" "${priors[@]}"
        mark_done "$out/.done" "$inputs"
    fi
    cp "$out/results.md" "$exp/samples.md"
    cat "$exp/samples.md"
}

# As many items from prior $1 as data directory $2 has utterances, with their lengths, labels and voices.
draw_samples() {
    local prior=$exp/prior_$checkpoint/$1 out=$exp/samples_$checkpoint/$1 codes inputs told=()
    local program=$AUDIOVQ_ROOT/recipes/sample_codes.py
    codes=$exp/codes_$checkpoint/$(basename "$2")/codes
    if [ "$1" != any ]; then told=(--labels "$2/$(label_table "$1")"); fi
    inputs=$(fingerprint "$prior/.done" "$codes" "$program" "$top_p" "$decoder" "${told[@]}")
    if [ ! -d "$out" ]; then rm -f "$out.done"; fi
    if done_before "$out.done" "$inputs"; then return; fi
    rm -f "$out.done"
    $decode_cmd --num-threads "$threads" "$exp/log/sample_${checkpoint}_$1.log" \
        python "$program" --prior "$prior" --model "$model" --data "$2" --codes "$codes" --out "$out" --top-p "$top_p" \
        --threads "$threads" "${told[@]}" "${decode_args[@]}"
    mark_done "$out.done" "$inputs"
}

stage_score() {
    local data set inputs arguments bitrate scores=$exp/scores_$checkpoint
    need "$model/config.json" 2
    data=$(eval_data)
    set=$(basename "$data")
    need "$exp/reconstruct_$checkpoint/$set/wav.scp" 3
    arguments=(--model "$model" --data "$data" --train "$data_dir/${train_sets%% *}" --threads "$threads"
        --codes "$exp/codes_$checkpoint/$set/codes" --reconstructed "$exp/reconstruct_$checkpoint/$set" "${decode_args[@]}")
    # shellcheck disable=SC2206  # several words
    arguments+=(${score_args:-})
    if [ -f "$exp/spk2idx" ]; then
        need "$exp/convert_$checkpoint/$set/wav.scp" 4
        arguments+=(--converted "$exp/convert_$checkpoint/$set")
    fi
    if [ "$pack" = true ]; then arguments+=(--pack "$corpora/$eval_set"); fi
    if [ "$baseline" = true ]; then arguments+=(--nocodes "${exp}_nocodes/models/$checkpoint"); fi
    inputs=$(fingerprint "${arguments[@]}" "$AUDIOVQ_ROOT/recipes/score.py" "$bitrates")
    if ! done_before "$scores/.done" "$inputs"; then
        mkdir -p "$scores"
        rm -f "$scores/.done"
        for bitrate in $bitrates; do
            set -- # groups of utterances, if the corpus has them
            if [ -f "$data/utt2group" ]; then set -- --group "$data/utt2group"; fi
            $decode_cmd --num-threads "$threads" "$exp/log/score_${checkpoint}_$bitrate.log" \
                python -m audiovq evaluate codec --data "$data" --model "$model" --bitrate "$bitrate" \
                --threads "$threads" --json "$scores/bitrate_$bitrate.json" "${decode_args[@]}" "$@"
        done
        $decode_cmd --num-threads "$threads" "$exp/log/score_$checkpoint.log" \
            python "$AUDIOVQ_ROOT/recipes/score.py" "${arguments[@]}" --out "$scores"
        mark_done "$scores/.done" "$inputs"
    fi
    cp "$scores/results.md" "$scores/scores.json" "$exp/"
}

main "$@"
exit
