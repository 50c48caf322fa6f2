"""A held-out segment and its reconstruction, in TensorBoard at each validation."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from audiovq.audio import AudioVQVAE

EXAMPLE_SECONDS = 1.0  # of an autoregressive example; sampling runs far slower than training


class AudioExample(pl.Callback):
    """An input and what the decoder in training makes of it, heard and seen in TensorBoard at each validation."""

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        board = next((x for x in trainer.loggers if isinstance(x, TensorBoardLogger)), None)
        loaders = trainer.val_dataloaders
        model: AudioVQVAE = pl_module.model  # type: ignore[assignment]
        if trainer.sanity_checking or board is None or loaders is None or not model.quantizer.ready:
            return
        batch = next(iter(loaders))
        length = int(batch["num_samples"][0])
        decoder: str = pl_module.objective.config.decoder  # type: ignore[union-attr, assignment]
        if model.decoder_context(decoder) is None:
            length = min(length, int(EXAMPLE_SECONDS * model.sample_rate))
        waveform = batch["waveform"][:1, :, :length].to(pl_module.device)
        speaker = batch["speaker"][:1].to(pl_module.device)
        with torch.inference_mode():
            codes, generator = model.encode(waveform), torch.Generator().manual_seed(0)
            output = model.decode(codes, decoder=decoder, speaker=speaker, generator=generator)
        for name, sound in (("input", waveform), ("output", output[..., :length])):
            mono = sound[0, 0].float().cpu().clamp(-1, 1)
            board.experiment.add_audio(f"valid/{name}", mono, trainer.global_step, sample_rate=model.sample_rate)
            board.experiment.add_figure(f"valid/{name}", _spectrogram(mono, model.sample_rate), trainer.global_step)


def _spectrogram(mono: torch.Tensor, sample_rate: int) -> Any:
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    figure = Figure(figsize=(8, 3))
    axes = figure.add_subplot()
    axes.specgram(mono.numpy() + 1e-8, NFFT=256, Fs=sample_rate, noverlap=192, vmin=-120, vmax=-20)
    axes.set_xlabel("seconds")
    axes.set_ylabel("Hz")
    figure.tight_layout()
    return figure
