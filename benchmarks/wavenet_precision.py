"""What bf16 and int8 weights cost a trained WaveNet: logits, likelihood, and the log-mel distance of what it draws."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path

import harness
import numpy as np
import torch
from torch import Tensor

from audiovq.audio import MuLawSoftmax, WaveNetDecoder, load_model
from audiovq.audio.wavenet_sampler import PRECISIONS, WaveNetSampler
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.resampling import resample
from audiovq.metrics.interval import mean_interval
from audiovq.metrics.speech import mel_distance_db

PARALLEL = "parallel pass"


@dataclass
class Sums:
    """Of one precision, over utterances."""

    largest: float = 0.0
    nats: float = 0.0
    bits: float = 0.0
    mel_db: list[float] = field(default_factory=list)


@torch.inference_mode()
def measure(name: str, data: Path, seconds: float) -> list[dict[str, object]]:
    """Rows of {name, logit_difference, kl_nats, nll_bits, mel_db, mel_loss_db, mel_loss_interval}.

    Differences and KL divergence, nats per sample, are those of the parallel pass, and of the sampler fed with the
    original sound, from the parallel pass in float64. `mel_db` is the distance of freely drawn sound from the original,
    with the same uniform numbers in each precision; `mel_loss_db` what it lost against fp32, with a 95 % interval over
    utterances.
    """
    model = load_model(name)
    decoder = next((d for d in model.decoders.values() if isinstance(d, WaveNetDecoder)), None)
    if decoder is None:
        raise SystemExit(f"{name}: has no WaveNet decoder; give a model that has one")
    exact = copy.deepcopy(decoder).double()
    samplers = {precision: WaveNetSampler(decoder, precision) for precision in PRECISIONS}
    sums = {precision: Sums() for precision in (PARALLEL, *PRECISIONS)}
    samples = 0
    utterances = DataDir.read(data).utterances
    for i in np.random.default_rng(0).permutation(len(utterances)):  # not all of the first speaker
        utterance = utterances[i]
        x = torch.from_numpy(utterance.mono(model.sample_rate)).view(1, 1, -1)
        length = x.shape[-1]
        speaker = model.speaker_vector(model.speaker_indices([utterance.speaker]))
        z_q = model.quantizer.decode(model.encode(x))
        uniforms = torch.from_numpy(np.random.default_rng([0, samples]).random((1, length)))
        reference = exact(x.double(), z_q.double(), None if speaker is None else speaker.double())
        add(sums[PARALLEL], decoder, decoder(x, z_q, speaker), reference, x)
        for precision, sampler in samplers.items():
            condition = sampler.condition(z_q, speaker)
            _, outputs = sampler.sample(condition, uniforms, teacher=x)
            drawn, _ = sampler.sample(condition, uniforms)
            add(sums[precision], decoder, outputs, reference, x)
            sums[precision].mel_db.append(distance(x[0], drawn[0], model.sample_rate))
        samples += length
        if samples >= seconds * model.sample_rate:
            break
    softmax = isinstance(decoder.likelihood, MuLawSoftmax)
    return [row(name, total, sums["fp32"], samples, softmax) for name, total in sums.items()]


def add(total: Sums, decoder: WaveNetDecoder, outputs: Tensor, reference: Tensor, x: Tensor) -> None:
    """Add what outputs `[1, T, num_outputs]` for sound x `[1, 1, T]` differ by from the reference, and their bits."""
    total.largest = max(total.largest, float((outputs - reference).abs().max()))
    total.bits += float(decoder.likelihood.bits(outputs, x[:, 0]).double().sum())
    if isinstance(decoder.likelihood, MuLawSoftmax):
        total.nats += kl_nats(reference, outputs)


def row(name: str, total: Sums, exact: Sums, samples: int, softmax: bool) -> dict[str, object]:
    """A row of `measure`."""
    found: dict[str, object] = dict(
        name=name,
        samples=samples,
        nll_bits=total.bits / samples,
        logit_difference=total.largest,
        kl_nats=total.nats / samples if softmax else None,
    )
    if name == PARALLEL:
        return found
    lost = np.subtract(total.mel_db, exact.mel_db)
    return found | dict(
        mel_db=float(np.mean(total.mel_db)),
        mel_loss_db=float(lost.mean()),
        mel_loss_interval=mean_interval(lost) if len(lost) > 1 else None,
    )


def kl_nats(reference: Tensor, outputs: Tensor) -> float:
    """Sum over samples of KL(reference || outputs), both `[1, T, levels]` logits."""
    p, q = reference.double().log_softmax(-1), outputs.double().log_softmax(-1)
    return float((p.exp() * (p - q)).sum())


def distance(original: Tensor, drawn: Tensor, rate: int) -> float:
    """Log-mel distance in dB of `[1, T]` at 16 kHz, or at 8 kHz for a lower rate."""
    scored = 16000 if rate >= 16000 else 8000
    x, y = (resample(sound.numpy(), rate, scored)[0] for sound in (original, drawn))
    return mel_distance_db(x, y, scored)


def show(rows: list[dict[str, object]]) -> str:
    """Markdown: a line per precision."""
    header = ["", "max logit difference", "KL, nats/sample", "NLL, bits/sample", "mel dB", "mel dB lost (95 %)"]
    cells = []
    for row in rows:
        interval = row.get("mel_loss_interval")
        lost = None if interval is None else f"{row['mel_loss_db']:+.3f} ({interval[0]:+.3f}, {interval[1]:+.3f})"
        largest, kl = (None if row.get(k) is None else f"{row[k]:.1e}" for k in ("logit_difference", "kl_nats"))
        mel = None if "mel_db" not in row else f"{row['mel_db']:.3f}"
        cells.append([row["name"], largest, kl, f"{row['nll_bits']:.5f}", mel, lost])
    return f"{rows[0]['samples']} samples\n\n{harness.table(header, cells)}"
