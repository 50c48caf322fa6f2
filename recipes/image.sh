# shellcheck shell=bash
# The stages of every recipe of images, from a corpus to trained and scored models. Sourced by run.sh after path.sh,
# cmd.sh, db.sh and local/corpus.sh; docs/recipes.md says how a corpus is added.
#
# local/corpus.sh sets `title`, `conf`, `expected_train` and `expected_eval`, may set other defaults and options of its own
# (`corpus_options`, `corpus_help`) and `pack_args`, and defines find_images, which finds the corpus in `db_root` and
# sets `train_images` and `eval_images`: a source and the options that `audiovq image pack` needs to read it. If the
# corpus can be downloaded, it defines download_corpus DIR too and `download_name`, its folder below --download-dir.

# shellcheck disable=SC1091  # found at run time
. "$AUDIOVQ_ROOT/recipes/parse_options.sh"

: "${title:?local/corpus.sh must set it}" "${conf:?local/corpus.sh must set it}"
: "${expected_train:?local/corpus.sh must set it}" "${expected_eval:?local/corpus.sh must set it}"
: "${train_cmd:?cmd.sh must set it}" "${cuda_cmd:?}" "${decode_cmd:?}" "${cmd_backend:?}"
if [ -z "${pack_args+set}" ]; then pack_args=(); fi

stage=-1
stop_stage=100
nj=2
threads=2
num_nodes=1
# one GPU where there is one; a cluster's head node has none, and its nodes do
ngpu=0
if [ "$cmd_backend" != local ] || nvidia-smi -L > /dev/null 2>&1; then ngpu=1; fi
tag=""
changes=""
train_args=""
resume=auto
checkpoint=best
baselines="${baselines-vae vimco}"
second=${second:-}
prior_conf=${prior_conf:-}
num_valid=1000
num_eval=0
num_samples=64
max_classes=10 # rows of the sheet of samples
allow_partial=false
debug=false
db_root=${db_root:-}
download_dir=downloads
dump_dir=dump
exp_dir=exp
# shellcheck disable=SC2034  # parse_options reads these
option_names="stage stop_stage nj threads num_nodes ngpu conf changes tag train_args resume checkpoint baselines second
prior_conf num_valid num_eval num_samples allow_partial debug db_root download_dir dump_dir exp_dir ${corpus_options:-}"
# shellcheck disable=SC2034
option_aliases="n_jobs=nj n_gpus=ngpu"
# shellcheck disable=SC2034
help_message="$title

Usage: ./run.sh [--option value | --option=value ...]

Stages:
  -1  download the corpus, unless --db-root or db.sh names it
   0  count its images
   1  pack them for training: DUMP_DIR/SIZE/{train,valid,test}
   2  train: EXP_DIR/TAG; from here on, figures go to EXP_DIR/TAG/figures_CHECKPOINT
   3  bits/dim of the set test, with its own codes and with others'
   4  train the baselines, and the same of them: EXP_DIR/TAG+NAME
   5  encode the sets, train a prior over their codes, and measure bits/dim with it
   6  sample from the prior, a row for each of up to $max_classes classes, and from the uniform one
   7  reconstruct: originals and what their codes keep of them
   8  two stages: a second VQ-VAE on the first one's codes: EXP_DIR/TAG+NAME

Options (relative paths count from the recipe's folder; _ and - are the same in names):
  --stage N           first stage to run                                    [$stage]
  --stop-stage N      last stage to run                                     [$stop_stage]
  --nj N              threads that decode images (--n-jobs)               [$nj]
  --threads N         CPU threads of training and scoring                   [$threads]
  --ngpu N            GPUs of a node for training, 0: CPU (--n-gpus)        [$ngpu]
  --num-nodes N       nodes for training (cmd_backend=slurm)                [$num_nodes]
  --conf FILE         configuration of model and training                   [$conf]
  --changes LIST      files of conf/changes laid over it, joined by +       [none]
  --tag NAME          the run goes to EXP_DIR/NAME                          [the names of conf and changes]
  --train-args ARGS   more arguments of 'audiovq train', for all models     [none]
  --resume WHAT       auto: go on from the last checkpoint; none; or a file [$resume]
  --baselines LIST    each of one or more files of conf/changes, joined by +, over conf
                      [${baselines:-none}]
  --second FILE       configuration of the second stage's VQ-VAE            [${second:-none}]
  --prior-conf FILE   configuration of the prior over 'audiovq prior fit's  [${prior_conf:-none}]
  --checkpoint NAME   model to encode with and score: best or latest        [$checkpoint]
  --num-valid N       training images kept back for validation            [$num_valid]
  --num-eval N        images of the set test to score, 0: all             [$num_eval]
  --num-samples N     images to draw from the prior                       [$num_samples]
  --allow-partial BOOL  go on with another number of images than expected [$allow_partial]
  --debug BOOL        all stages with narrow networks, a few steps and a few images, to see that they work
  --db-root DIR       the corpus, never written to                          [db.sh: ${db_root:-none}]
  --download-dir DIR  where it is downloaded to                             [$download_dir]
  --dump-dir DIR      where packs go                                        [$dump_dir]
  --exp-dir DIR       where everything trained and made goes                [$exp_dir]${corpus_help:-}"

main() {
    parse_options "$@"
    # shellcheck disable=SC1091  # found at run time
    . "$AUDIOVQ_ROOT/recipes/stages.sh"
    # shellcheck disable=SC1091  # found at run time
    . "$AUDIOVQ_ROOT/recipes/training.sh"
    check_setup
    name=$(basename "$conf" .yaml)${changes:++$changes}
    tag=${tag:-$name}
    size=$(python -c 'import sys, yaml; print(yaml.safe_load(open(sys.argv[1]))["model"]["height"])' "$conf")
    packs=$dump_dir/$size
    if [ "$debug" = true ]; then
        tag=${tag}_debug packs=${packs}_debug checkpoint=latest num_samples=8
    fi
    exp=$exp_dir/$tag
    model=$exp/models/$checkpoint
    codes=$exp/codes_$checkpoint
    figures=$exp/figures_$checkpoint
    device=cpu gpu=()
    if [ "$ngpu" -gt 0 ]; then device=cuda gpu=(--gpu 1); fi

    if runs -1 "download"; then stage_download; fi
    if runs 0 "count images"; then stage_count; fi
    if runs 1 "pack"; then stage_pack; fi
    if runs 2 "train"; then train_model "$exp" "$changes"; fi
    if runs 3 "bits/dim"; then stage_evaluate; fi
    if runs 4 "baselines"; then stage_baselines; fi
    if runs 5 "prior"; then stage_prior; fi
    if runs 6 "sample"; then stage_sample; fi
    if runs 7 "figures"; then stage_figures; fi
    if runs 8 "two stages"; then stage_second; fi
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

# Sets train_images and eval_images.
locate_corpus() {
    if [ -z "$db_root" ]; then
        if [ -z "${download_name:-}" ]; then fail "name the corpus' folder with --db-root, or in db.sh"; fi
        db_root=$download_dir/$download_name
        need "$db_root" -1
    fi
    find_images
}

stage_count() {
    local program=$AUDIOVQ_ROOT/recipes/count_images.py partial=$allow_partial
    if [ "$debug" = true ]; then partial=true; fi
    locate_corpus
    python "$program" "${train_images[@]:?}" --expected "$expected_train" --allow-partial "$partial"
    python "$program" "${eval_images[@]:?}" --expected "$expected_eval" --allow-partial "$partial"
}

stage_pack() {
    locate_corpus
    if [ "$debug" = true ]; then # what is trained on may be validated on too: nobody will read these figures
        pack_set test "${eval_images[@]}" --limit 24
        pack_set valid "${train_images[@]}" --limit 16
        pack_set train "${train_images[@]}" --limit 200
    else
        pack_set test "${eval_images[@]}"
        pack_set valid "${train_images[@]}" --limit "$num_valid"
        pack_set train "${train_images[@]}" --limit "$num_valid" --exclude --against "$packs/test"
    fi
}

# Packs a source ($2 and its options) as $packs/$1.
pack_set() {
    local set=$1 inputs
    shift
    inputs=$(fingerprint "$@" "$size" "${pack_args[@]}")
    if [ -d "$packs/$set" ] && done_before "$packs/.done_$set" "$inputs"; then return; fi
    rm -f "$packs/.done_$set"
    $train_cmd --num-threads "$nj" "$packs/log/pack_$set.log" \
        python -m audiovq image pack "$1" "$packs/$set" --force --size "$size" --nj "$nj" "${pack_args[@]}" "${@:2}"
    mark_done "$packs/.done_$set" "$inputs"
}

# Trains conf with the changes $2 (names joined by +) laid over it, to folder $1.
train_model() {
    local folder=$1 words=() files=("$conf") change set
    read -r -a words <<< "$train_args"
    for change in ${2//+/ }; do
        need_file "conf/changes/$change.yaml"
        files+=("conf/changes/$change.yaml")
    done
    for set in train valid; do need "$packs/$set/meta.json" 1; done
    if [ "$debug" = true ]; then files+=("$AUDIOVQ_ROOT/recipes/image_debug.yaml"); fi
    run_training "$folder" "$(fingerprint "${files[@]}" "$packs"/.done_{train,valid} "$train_args")" \
        "${files[@]}" -o "data.root=$packs" -o data.train=train -o data.valid=valid "${words[@]}"
}

need_file() {
    if [ ! -f "$1" ]; then fail "$1: no such file"; fi
}

stage_evaluate() {
    need "$model/config.json" 2
    evaluate_model "$model" "$name"
    write_results
}

stage_baselines() {
    local baseline
    for baseline in $baselines; do
        train_model "$exp+$baseline" "$baseline"
        evaluate_model "$exp+$baseline/models/$checkpoint" "$baseline"
    done
    write_results
}

# Bits/dim of model folder $1 on the set test: $exp/scores_CHECKPOINT/$2.json. The rest goes to `audiovq image evaluate`.
evaluate_model() {
    local folder=$1 out=$exp/scores_$checkpoint/$2 inputs words=("${@:3}") data=${test_data:-$packs/test}
    need "$data" 1
    if [ "$num_eval" -gt 0 ]; then words+=(--limit "$num_eval"); fi
    # whoever packed them allowed it, and the table says what they are
    if grep -q '"lossy": true' "$packs/test/meta.json"; then words+=(--allow-lossy); fi
    inputs=$(fingerprint "$folder/config.json" "$folder/model.safetensors" "$data" "${words[@]}")
    if [ -f "$out.json" ] && done_before "$out.done" "$inputs"; then return; fi
    rm -f "$out.done"
    mkdir -p "$(dirname "$out")"
    $decode_cmd "${gpu[@]}" --num-threads "$threads" "$exp/log/evaluate_$2.log" \
        python -m audiovq image evaluate "$folder" "$data" --json "$out.json" --device "$device" --threads "$threads" \
        "${words[@]}"
    mark_done "$out.done" "$inputs"
}

# All that was measured so far, in one table.
write_results() {
    python "$AUDIOVQ_ROOT/recipes/image_results.py" "$exp/scores_$checkpoint" --out "$exp/results.md"
}

stage_prior() {
    local set inputs folder=$exp/prior_$checkpoint words=()
    need "$model/config.json" 2
    mkdir -p "$codes"
    for set in train valid test; do
        need "$packs/$set/meta.json" 1
        inputs=$(fingerprint "$model"/{config.json,model.safetensors} "$packs/.done_$set")
        if [ -f "$codes/$set.npy" ] && done_before "$codes/.done_$set" "$inputs"; then continue; fi
        rm -f "$codes/.done_$set"
        $decode_cmd "${gpu[@]}" --num-threads "$threads" "$exp/log/encode_$set.log" \
            python -m audiovq image encode "$packs/$set" "$codes/$set.npy" --model "$model" --force \
            --device "$device" --threads "$threads"
        mark_done "$codes/.done_$set" "$inputs"
    done
    if [ -f "$codes/train.labels.txt" ]; then # classes
        cat "$codes"/{train,valid}.labels.txt > "$codes/labels.txt"
        words+=(--by-label --labels "$codes/labels.txt")
    fi
    if [ -n "$prior_conf" ]; then words+=(--config "$prior_conf"); fi
    if [ "$debug" = true ]; then words+=(-o prior.channels=16 -o prior.depth=2 -o data.batch_size=8 -o train.max_steps=4); fi
    inputs=$(fingerprint "$codes"/.done_{train,valid} "${words[@]}")
    if [ ! -f "$folder/model.safetensors" ] || ! done_before "$folder.done" "$inputs"; then
        rm -f "$folder.done"
        $cuda_cmd "${gpu[@]}" --num-threads "$threads" "$exp/log/prior.log" \
            python -m audiovq prior fit "$codes/train.npy" --valid "$codes/valid.npy" --kind pixelcnn --layout grid \
            --codec "$model" --out "$folder" --device "$device" --threads "$threads" "${words[@]}"
        mark_done "$folder.done" "$inputs"
    fi
    evaluate_model "$model" "${name}_prior" --prior "$folder" --no-shuffle
    write_results
}

stage_sample() {
    local classes=() words=() number rows=$max_classes
    need "$exp/prior_$checkpoint/config.json" 5
    if [ -f "$codes/labels.txt" ]; then
        mapfile -t classes < <(cut -d ' ' -f 2- "$codes/labels.txt" | sort -u)
        if [ "${#classes[@]}" -lt "$rows" ]; then rows=${#classes[@]}; fi
        for ((number = 0; number < rows; number++)); do words+=(--label "${classes[number * ${#classes[@]} / rows]}"); done
        words+=(--num $((num_samples / rows > 0 ? num_samples / rows : 1)))
    else
        words=(--num "$num_samples")
    fi
    draw samples "$model" --prior "$exp/prior_$checkpoint" "${words[@]}"
    draw samples_uniform "$model" --num "$num_samples"
}

# Draws images to the sheet $1.png; the rest goes to `audiovq image sample`.
draw() {
    local out=$figures/$1.png
    mkdir -p "$figures"
    $decode_cmd "${gpu[@]}" --num-threads "$threads" "$exp/log/$1.log" \
        python -m audiovq image sample "$2" "$out" --force --device "$device" --threads "$threads" "${@:3}"
}

stage_figures() {
    need "$model/config.json" 2
    mkdir -p "$figures"
    $decode_cmd "${gpu[@]}" --num-threads "$threads" "$exp/log/reconstruct.log" \
        python -m audiovq image reconstruct "$packs/test" --model "$model" --grid "$figures/reconstructions.png" \
        --limit "$num_samples" --force --quiet --device "$device" --threads "$threads"
    echo "$figures/reconstructions.png: each original with its reconstruction on the right"
}

stage_second() {
    local second_name folder files=("$second") words=()
    if [ -z "$second" ]; then
        echo "no second stage (--second)"
        return
    fi
    need_file "$second"
    need "$codes/train.npy" 5
    second_name=$(basename "$second" .yaml)
    folder=$exp+$second_name
    if [ "$debug" = true ]; then files+=("$AUDIOVQ_ROOT/recipes/image_debug.yaml"); fi
    read -r -a words <<< "$train_args"
    run_training "$folder" "$(fingerprint "${files[@]}" "$codes"/.done_{train,valid} "$train_args")" "${files[@]}" \
        -o "data.root=$codes" -o data.train=train.npy -o data.valid=valid.npy "${words[@]}"
    test_data=$codes/test.npy evaluate_model "$folder/models/$checkpoint" "$second_name"
    write_results
    draw two_stages_samples "$folder/models/$checkpoint" --first-stage "$model" --num "$num_samples"
    python "$AUDIOVQ_ROOT/recipes/image_two_stages.py" --first "$model" --second "$folder/models/$checkpoint" \
        --data "$packs/test" --out "$figures/two_stages.png" --device "$device"
}

main "$@"
exit
