# shellcheck shell=bash
# Tiny ImageNet: where it comes from, and how its images are found. Sourced by run.sh.
# shellcheck disable=SC2034,SC2154  # variables go to image.sh and come from it
title="Tiny ImageNet (110,000 images of 64 x 64, JPEG): VQ-VAE, VAE and VIMCO in bits/dim"
conf=conf/vqvae.yaml
baselines="vae vimco pixelcnn pixelcnn+pixelcnn_only pixelcnn+pixelcnn_vae pixelcnn+pixelcnn_vae+kl_warmup"
second=conf/two_stage.yaml
prior_conf=conf/prior.yaml
expected_train=100000
expected_eval=10000
pack_args=(--allow-lossy --resize box) # there are only JPEG files; for a conf of 32 x 32, means of 2 x 2 pixels
corpus_help="

Options of this corpus:
  --db-root DIR       tiny-imagenet-200, as its archive unpacks; its val is the set eval, as its test has no classes"

download_name=tiny-imagenet-200

download_corpus() {
    "$AUDIOVQ_ROOT/recipes/download.sh" --unpack "$1" \
        --sha256 6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821 "$1.zip" \
        http://cs231n.stanford.edu/tiny-imagenet-200.zip
}

find_images() {
    if [ -d "$db_root/tiny-imagenet-200" ]; then db_root=$db_root/tiny-imagenet-200; fi
    train_images=("$db_root/train")
    eval_images=("$db_root/val" --labels "$db_root/val/val_annotations.txt")
}
