"""The parts of a run that trains a codec of sound: corpora, module, callbacks."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import yaml

from audiovq.data.corpus.base import Corpus
from audiovq.data.corpus.open import open_corpus
from audiovq.data.corpus.pack import summary
from audiovq.errors import ConfigError
from audiovq.train import record
from audiovq.train.callbacks import Throughput
from audiovq.train.config import parse_as
from audiovq.train.data import StepwiseData
from audiovq.train.speech.config import SpeechExperimentConfig
from audiovq.train.speech.data import training_segments, validation_segments
from audiovq.train.speech.examples import AudioExample
from audiovq.train.speech.module import AudioVQVAEModule
from audiovq.train.speech.scores import ValidationScores


def with_speakers(
    config: SpeechExperimentConfig, corpora: Sequence[Corpus], exp_dir: Path, fresh: bool
) -> SpeechExperimentConfig:
    """Fill `model.speakers` if the model wants a table (speaker_dim > 0) and the configuration names none.

    They come from the run that is resumed, or else from the training data: a table never changes under a run's feet.
    Raises ConfigError if the run in exp_dir has another model.
    """
    path = exp_dir / record.CONFIG
    earlier = None
    if not fresh and path.exists():
        earlier = parse_as(SpeechExperimentConfig, yaml.safe_load(path.read_text("utf-8")), str(path))
    if config.model.speaker_dim and not config.model.speakers:
        if earlier is not None:
            names = earlier.model.speakers
        else:
            names = sorted({name for corpus in corpora for name in corpus.speakers})
        config = config.model_copy(update={"model": config.model.model_copy(update={"speakers": names})})
    if earlier is not None and config.model != earlier.model:
        raise ConfigError(
            f"{path}: the run there has another model; resume with its configuration, or choose a new --exp"
        )
    return config


class SpeechRun:
    """See `audiovq.train.run.Run`. Opens each corpus once.

    Args:
        config: as read; speakers are filled in by `with_speakers`.
        exp_dir, fresh: of the run; not `fresh` if it goes on.
    """

    def __init__(self, config: SpeechExperimentConfig, exp_dir: Path, *, fresh: bool) -> None:
        data = config.data
        paths = [data.root / path for path in (*(pack.path for pack in data.train), data.valid)]
        opened = {path: open_corpus(path, config.model.sample_rate) for path in dict.fromkeys(paths)}
        *self._train, self._valid = self._corpora = [opened[path] for path in paths]
        self.config = with_speakers(config, self._train, exp_dir, fresh)
        self.batch = f"{data.batch_size} x {data.segment_samples} samples"
        self.tables = {}
        if speakers := self.config.model.speakers:
            self.tables["spk2idx"] = "".join(f"{name} {i}\n" for i, name in enumerate(speakers))

    def stamps(self) -> list[str]:
        """Of the corpora."""
        return [corpus.input_hash for corpus in self._corpora]

    def summaries(self) -> list[str]:
        """A line a corpus."""
        return [summary(corpus) for corpus in self._corpora]

    def module(self) -> AudioVQVAEModule:
        """With random or released weights."""
        return AudioVQVAEModule(self.config)

    def data(self) -> StepwiseData:
        """Batches and validation segments."""
        batches = partial(training_segments, self.config, self._train)
        return StepwiseData(batches, validation_segments(self.config, self._valid), self.config.data.num_workers)

    def callbacks(self) -> list[pl.Callback]:
        """Throughput, an example to hear, scores."""
        options = self.config.train
        own: list[pl.Callback] = [Throughput(options.log_every), AudioExample()]
        return [*own, ValidationScores(options.score_segments)] if options.score_segments else own
