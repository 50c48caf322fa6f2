# shellcheck shell=bash
# ImageNet, or images of any other classes in folders: how they are found. Sourced by run.sh.
# shellcheck disable=SC2034,SC2154  # variables go to image.sh and come from it
title="ImageNet (or any folders of images) at 128 x 128: VQ-VAE with 32 x 32 codes"
conf=conf/vqvae.yaml
baselines="vae vimco"
second=conf/two_stage.yaml
prior_conf=conf/prior.yaml
expected_train=1281167
expected_eval=50000
pack_args=(--allow-lossy) # ImageNet is JPEG files; reduced to 128 x 128 little is left of what that does
eval_labels=""
corpus_options=eval_labels
corpus_help="

Options of this corpus:
  --db-root DIR       holds train and val, folders of images by class
  --eval-labels FILE  a file name and its class on each line, where val has no folders by class"

find_images() {
    train_images=("$db_root/train")
    eval_images=("$db_root/val")
    if [ -n "$eval_labels" ]; then eval_images+=(--labels "$eval_labels"); fi
}
