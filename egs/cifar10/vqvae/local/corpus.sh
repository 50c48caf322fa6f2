# shellcheck shell=bash
# CIFAR-10: where it comes from, and how its images are found. Sourced by run.sh.
# shellcheck disable=SC2034,SC2154  # variables go to image.sh and come from it
title="CIFAR-10 (60,000 images of 32 x 32): VQ-VAE, VAE and VIMCO in bits/dim"
conf=conf/vqvae.yaml
baselines="vae vimco pixelcnn pixelcnn+pixelcnn_only pixelcnn+pixelcnn_vae pixelcnn+pixelcnn_vae+kl_warmup"
second=conf/two_stage.yaml
prior_conf=conf/prior.yaml
expected_train=50000
expected_eval=10000
allow_lossy=false
corpus_options=allow_lossy
corpus_help="

Options of this corpus:
  --db-root DIR       holds cifar-10-batches-py (needs torchvision), or folders train and test of images by class
  --allow-lossy BOOL  JPEG files instead of the originals: figures that can't be compared with others'  [$allow_lossy]"

download_name=cifar-10

download_corpus() {
    "$AUDIOVQ_ROOT/recipes/download.sh" --unpack "$1" \
        --sha256 6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce "$1.tar.gz" \
        https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz
}

find_images() {
    if [ -d "$db_root/cifar-10-batches-py" ]; then
        train_images=("$db_root" --format cifar10 --split train)
        eval_images=("$db_root" --format cifar10 --split test)
    else
        train_images=("$db_root/train")
        eval_images=("$db_root/test")
    fi
    if [ "$allow_lossy" = true ]; then pack_args=(--allow-lossy); fi
}
