"""Which quantizer keeps most at equal bits? One small autoencoder of log-mel frames of speech, all quantizers in turn.

    python benchmarks/quantizer_choice.py CORPUS [--steps 1500] [--seeds 3] [--only NAME ...]

CORPUS is a folder with one folder of audio files per speaker, at any depth; every eighth speaker is held out. Prints a
Markdown table from the held-out speakers: RMS error of log-mel in dB, and use of the codes counted over all of them.
The autoencoder, the data and the optimizer are the same for all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn

from audiovq.data.audio import read_audio
from audiovq.data.resampling import resample
from audiovq.layers import LogMel
from audiovq.quantize import FSQ, LFQ, CodeUsage, GroupedVQ, Quantizer, ResidualVQ, SimVQ, VectorQuantizer

RATE, HOP, WINDOW, MELS = 16000, 320, 512, 80
DB = 3 * 20 / 2.302585  # LogMel divides the natural logarithm of a magnitude by 3
LATENT, BATCH, LEARNING_RATE = 16, 1024, 1e-3

# As many bits as the title says, 9.97 for FSQ. "plain": the 2017 paper's codebook loss, without the mends made since.
TEN_BITS: dict[str, Callable[[], Quantizer]] = {
    "VQ, plain": lambda: vq(update="loss", kmeans_init=False, restart_threshold=0),
    "VQ, k-means, no restart": lambda: vq(restart_threshold=0),
    "VQ, restart, no k-means": lambda: vq(kmeans_init=False),
    "VQ, loss, k-means and restart": lambda: vq(update="loss"),
    "VQ, EMA, k-means and restart (the default)": lambda: vq(),
    "VQ, the same with decay 0.9": lambda: vq(decay=0.9),
    "VQ in 4 dimensions": lambda: vq(codebook_dim=4),
    "VQ, cosine, in 8 dimensions": lambda: vq(codebook_dim=8, distance="cosine"),
    "VQ, rotation": lambda: vq(gradient="rotation"),
    "grouped VQ, 2 x 32 codes": lambda: GroupedVQ([VectorQuantizer(LATENT // 2, 32) for _ in range(2)]),
    "SimVQ": lambda: SimVQ(LATENT, 1024),
    "SimVQ in 8 dimensions": lambda: SimVQ(LATENT, 1024, codebook_dim=8),
    "FSQ, [8, 5, 5, 5]": lambda: FSQ(LATENT, [8, 5, 5, 5]),
    "LFQ": lambda: LFQ(LATENT, 10),
}
TWENTY_BITS: dict[str, Callable[[], Quantizer]] = {
    "residual VQ, 2 x 1024": lambda: ResidualVQ.of(LATENT, 2, 1024),
    "grouped VQ, 2 x 1024": lambda: GroupedVQ([VectorQuantizer(LATENT // 2, 1024) for _ in range(2)]),
    "residual VQ, 4 x 32": lambda: ResidualVQ.of(LATENT, 4, 32),
    "residual SimVQ, 2 x 1024": lambda: ResidualVQ([SimVQ(LATENT, 1024) for _ in range(2)]),
    "residual FSQ, 2 x [8, 5, 5, 5]": lambda: ResidualVQ(
        [FSQ(4, [8, 5, 5, 5], scale=0.25**i) for i in range(2)], dim=LATENT
    ),
    "residual LFQ, 2 x 10 bits": lambda: ResidualVQ([LFQ(10, 10, scale=0.5**i) for i in range(2)], dim=LATENT),
}


def vq(**options: object) -> VectorQuantizer:
    """A single codebook of 2^10 codes."""
    return VectorQuantizer(LATENT, 1024, **options)  # type: ignore[arg-type]


class Autoencoder(nn.Module):
    """Two layers in, two layers out, frame by frame; a norm keeps latents at the scale quantizers expect."""

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(MELS, 256), nn.GELU(), nn.Linear(256, LATENT), nn.LayerNorm(LATENT, elementwise_affine=False)
        )
        self.quantizer = quantizer
        self.decoder = nn.Sequential(nn.Linear(LATENT, 256), nn.GELU(), nn.Linear(256, MELS))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """frames [N, MELS] -> what the decoder makes of their codes [N, MELS], and the quantizer's loss."""
        out = self.quantizer(self.encoder(frames))
        return self.decoder(out.z_q), out.loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="rows of the table whose name begins with one of these"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    train, held_out = read_frames(args.corpus)
    print(f"{len(train)} frames to train, {len(held_out)} held out, {args.steps} steps, mean of {args.seeds} seeds\n")
    for bits, kinds in ((10, TEN_BITS), (20, TWENTY_BITS)):
        print(f"| {bits} bits a frame | error, dB (seeds) | usage | perplexity |\n|---|---|---|---|")
        for name, build in kinds.items():
            if args.only is None or name.startswith(tuple(args.only)):
                print(
                    row(name, [run(build, train, held_out, args.steps, seed) for seed in range(args.seeds)]), flush=True
                )
        print()


def read_frames(corpus: Path) -> tuple[Tensor, Tensor]:
    """Log-mel frames [N, MELS] of most speakers and of those held out."""
    files = sorted(path for end in ("flac", "wav") for path in corpus.rglob(f"*.{end}"))
    speakers = sorted({path.parent for path in files})
    analysis = LogMel(RATE, MELS, WINDOW, HOP)
    train, held_out = [], []
    for path in files:
        waveform, rate = read_audio(path)
        sound = torch.from_numpy(resample(waveform, rate, RATE)).mean(dim=0)
        mel = analysis(sound[: len(sound) // HOP * HOP].view(1, 1, -1))[0]
        (held_out if speakers.index(path.parent) % 8 == 7 else train).append(mel)
    return torch.cat(train), torch.cat(held_out)


def run(
    build: Callable[[], Quantizer], train: Tensor, held_out: Tensor, steps: int, seed: int
) -> tuple[float, list[float], list[float]]:
    """Train from scratch; error in dB, usage and perplexity of each level on the held-out frames."""
    torch.manual_seed(seed)
    model = Autoencoder(build())
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        frames = train[torch.randint(len(train), (BATCH,))]
        decoded, loss = model(frames)
        optimizer.zero_grad()
        ((decoded - frames).square().mean() + loss).backward()
        optimizer.step()
        schedule.step()
    model.eval()
    use = CodeUsage(model.quantizer.codebook_sizes)
    with torch.no_grad():
        codes = model.quantizer.encode(model.encoder(held_out))
        error = (model.decoder(model.quantizer.decode(codes)) - held_out).square().mean().sqrt().item() * DB
    use.update(codes)
    figures = use.compute()
    return error, figures["usage"].tolist(), figures["perplexity"].tolist()


def row(name: str, runs: list[tuple[float, list[float], list[float]]]) -> str:
    """One line of the table; levels are separated by slashes."""
    errors = [run[0] for run in runs]
    usage = " / ".join(f"{100 * mean(level):.0f} %" for level in zip(*(run[1] for run in runs), strict=True))
    perplexity = " / ".join(f"{mean(level):.0f}" for level in zip(*(run[2] for run in runs), strict=True))
    each = " ".join(f"{error:.2f}" for error in errors)
    return f"| {name} | {mean(errors):.2f} ({each}) | {usage} | {perplexity} |"


if __name__ == "__main__":
    main()
