"""PESQ and STOI of validation segments, computed in a process of their own while training continues."""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.audio import AudioVQVAE
from audiovq.data.resampling import resample
from audiovq.metrics.speech import pesq_and_stoi

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


class ValidationScores(pl.Callback):
    """Logs `valid/pesq` and `valid/stoi` of what the model makes of the first segments, at its default bitrate.

    They arrive after the validation that they belong to, and are logged with its step. PESQ is wide-band, at 16 kHz,
    and narrow-band for a model under that rate. Stands before the weight-averaging callback, so that it hears the
    averaged weights.

    Args:
        count: how many segments.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.pool: ProcessPoolExecutor | None = None
        self.waiting: list[tuple[int, Future[tuple[float, float]]]] = []

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        model: AudioVQVAE = pl_module.model  # type: ignore[assignment]
        decoder: str = pl_module.objective.config.decoder  # type: ignore[union-attr, assignment]
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.val_dataloaders is None:
            return
        if not model.quantizer.ready or model.decoder_context(decoder) is None:  # sampling would stop the training
            return
        rate = 16000 if model.sample_rate >= 16000 else 8000
        pairs = self._pairs(model, decoder, trainer.val_dataloaders, rate)
        if self.pool is None:  # spawned: the threads of torch don't survive a fork
            self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self.waiting.append((trainer.global_step, self.pool.submit(mean_scores, pairs, rate)))

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        while self.waiting and self.waiting[0][1].done():
            self._log(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        while self.waiting:
            self._log(trainer)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
            self.pool = None

    @torch.inference_mode()
    def _pairs(self, model: AudioVQVAE, decoder: str, loader: Any, rate: int) -> list[Pair]:
        """Original and output of the first segments, mono at `rate`."""
        pairs: list[Pair] = []
        device = next(model.parameters()).device
        for batch in loader:
            waveform, speaker = batch["waveform"].to(device), batch["speaker"].to(device)
            codes = model.encode(waveform, model.default_num_quantizers)
            output = model.decode(codes, decoder=decoder, speaker=speaker)
            for x, y, length in zip(waveform, output, batch["num_samples"].tolist(), strict=True):
                if len(pairs) == self.count:
                    return pairs
                pair = (w[:, :length].float().cpu().numpy() for w in (x, y))
                original, made = (resample(w, model.sample_rate, rate)[0] for w in pair)
                pairs.append((original, made))
        return pairs

    def _log(self, trainer: pl.Trainer) -> None:
        step, future = self.waiting.pop(0)
        pesq, stoi = future.result()
        figures = {k: v for k, v in (("valid/pesq", pesq), ("valid/stoi", stoi)) if not math.isnan(v)}
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=step)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        print(f"scores of step {step}  {shown or 'none: pesq is not installed, or segments are too short'}", flush=True)


def mean_scores(pairs: Sequence[Pair], rate: int) -> tuple[float, float]:
    """Mean PESQ and STOI over those pairs that have one; NaN if none has."""
    scores = np.array([pesq_and_stoi(original, made, rate) for original, made in pairs])
    means = [float(column[~np.isnan(column)].mean()) if not np.isnan(column).all() else math.nan for column in scores.T]
    return means[0], means[1]
