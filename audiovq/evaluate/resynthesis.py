"""Resynthesis of utterances, each in a chosen voice, written as a Kaldi data directory.

An autoregressive decoder runs many utterances in lockstep, which costs hardly more than one. Batches do not
depend on the number of processes, and every utterance draws its own random numbers, so a run can be repeated exactly.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.audio import AudioVQVAE
from audiovq.data.audio import resample, write_audio
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadDataError, BadModelError, OutputError
from audiovq.evaluate.likelihood import speaker_indices
from audiovq.pretrained import load_model, model_fingerprint, resolve_model

MARKER = "made_from.json"


@dataclass(frozen=True)
class Take:
    """An utterance to be made: `id` and `voice` are the new ones, `source` is what is encoded."""

    id: str
    voice: str
    source: Utterance


def mono(utterance: Utterance, rate: int) -> NDArray[np.float32]:
    """The utterance as float32 `[T]` at `rate` Hz, channels averaged."""
    waveform, own_rate = utterance.read()
    return resample(waveform.mean(axis=0, keepdims=True, dtype=np.float32), own_rate, rate)[0]


@torch.inference_mode()
def decode_in_lockstep(
    model: AudioVQVAE,
    codes: Sequence[Tensor],
    *,
    speaker: Tensor | None = None,
    seeds: Sequence[int],
    decoder: str | None = None,
) -> list[NDArray[np.float32]]:
    """Codes `[Q, F]` of several utterances, of any lengths, to waveforms `[F * hop_length]`.

    Args:
        model: any.
        codes: of each utterance.
        speaker: indices `[N]` for a model with speakers.
        seeds: of each utterance's random numbers; what is drawn does not depend on the utterances beside it.
        decoder: name; default: the model's first.
    """
    name = decoder or model.decoder_names[0]
    if name not in model.decoder_names:
        raise BadModelError(f"no decoder {name!r} in this model; it has {', '.join(model.decoder_names)}")
    sampler = model.sampler(name)
    if sampler is None:  # fast enough one by one
        rows = range(len(codes))
        chosen = [None if speaker is None else speaker[i : i + 1] for i in rows]
        return [model.decode(codes[i].unsqueeze(0), decoder=name, speaker=chosen[i])[0, 0].numpy() for i in rows]
    frames = [c.shape[-1] for c in codes]
    padded = torch.full((len(codes), codes[0].shape[0], max(frames)), -1, dtype=torch.int64)
    uniforms = torch.zeros(len(codes), max(frames) * model.hop_length, dtype=torch.float64)
    for row, (one, seed) in enumerate(zip(codes, seeds, strict=True)):
        padded[row, :, : frames[row]] = one
        length = frames[row] * model.hop_length
        uniforms[row, :length] = torch.rand(length, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    z_q = model.quantizer.decode(padded)  # 0 in the padding, as the decoder sees beyond an end
    waveform, _ = sampler.sample(sampler.condition(z_q, model.speaker_vector(speaker)), uniforms)
    return [waveform[row, 0, : f * model.hop_length].numpy() for row, f in enumerate(frames)]


def resynthesize(
    model_folder: str | Path,
    takes: Sequence[Take],
    out_dir: str | Path,
    *,
    nj: int = 1,
    batch_size: int = 50,
    seed: int = 0,
    decoder: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Encode and decode every take; `out_dir` becomes a data directory with `wav/`, at the model's rate.

    Args:
        model_folder: name or folder of the model.
        takes: what to make; outputs have exactly their sources' number of samples (at the model's rate).
        out_dir: appears when all is done, in place of an earlier one made by this function.
        nj: processes, one thread each; batch_size: utterances that are decoded in lockstep.
        seed: changes the random numbers of all takes.
        decoder: name; default: the model's first.
        progress: called with the takes done and their number.

    Returns:
        False if `out_dir` was made from the same model, sources and options before, and nothing had to be done.

    Raises:
        BadDataError: no takes, or a voice that the model does not know.
        OutputError: `out_dir` is there and is something else.
    """
    out_dir = Path(out_dir).absolute()
    folder = resolve_model(model_folder)
    if not takes:
        raise BadDataError(f"{out_dir}: no utterances to make; check the data directory")
    speaker_indices(load_model(folder), [take.voice for take in takes], str(out_dir))
    made_from = _fingerprint(folder, takes, (batch_size, seed, decoder))
    if (out_dir / MARKER).is_file() and json.loads((out_dir / MARKER).read_text("utf-8")) == made_from:
        return False
    if out_dir.exists() and not (out_dir / MARKER).is_file():
        raise OutputError(f"{out_dir}: exists and was not made by this program; choose another folder or remove it")
    temporary = out_dir.with_name(f".{out_dir.name}.making")
    shutil.rmtree(temporary, ignore_errors=True)  # left over from an interrupted run
    (temporary / "wav").mkdir(parents=True)
    try:
        batches = in_batches(takes, batch_size)
        work = partial(_make_batch, str(folder), temporary / "wav", seed=seed, decoder=decoder)
        done = 0
        for count in _in_parallel(work, batches[::-1], nj):  # the longest first, so that processes end together
            done += count
            if progress is not None:
                progress(done, len(takes))
        utterances = (
            Utterance(take.id, take.voice, str(out_dir / "wav" / f"{take.id}.wav"), text=take.source.text)
            for take in takes
        )
        DataDir(tuple(utterances)).write(temporary)
        (temporary / MARKER).write_text(json.dumps(made_from, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(out_dir, ignore_errors=True)
        os.replace(temporary, out_dir)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return True


def in_batches(takes: Sequence[Take], batch_size: int) -> list[list[Take]]:
    """Takes of like duration together, the shortest first, so that little is padding."""
    ordered = sorted(takes, key=_duration_hint)
    return [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]


def rotated_voices(data: DataDir) -> list[Take]:
    """Every utterance in the voice of another speaker: a speaker's k-th utterance goes to the (1 + k mod (n - 1))-th
    speaker after them, in order, so that each pair of speakers occurs as often. BadDataError for a single speaker."""
    speakers = data.speakers
    if len(speakers) < 2:
        raise BadDataError(f"only speaker {', '.join(speakers)}: conversion needs two at least")
    takes = []
    for s, speaker in enumerate(speakers):
        own = [u for u in data.utterances if u.speaker == speaker]
        for k, utterance in enumerate(own):
            voice = speakers[(s + 1 + k % (len(speakers) - 1)) % len(speakers)]
            takes.append(Take(f"{voice}-from-{utterance.id}", voice, utterance))
    return takes


def original_of(converted: Utterance, originals: dict[str, Utterance]) -> Utterance:
    """What an utterance of `rotated_voices` was made from."""
    return originals[converted.id.removeprefix(f"{converted.speaker}-from-")]


@lru_cache(maxsize=1)
def _model(folder: str) -> AudioVQVAE:
    return load_model(folder)


def _make_batch(folder: str, wav_dir: Path, takes: Sequence[Take], *, seed: int, decoder: str | None) -> int:
    model = _model(folder)
    speaker = speaker_indices(model, [take.voice for take in takes], folder)
    sounds = [mono(take.source, model.sample_rate) for take in takes]
    with torch.inference_mode():
        codes = [model.encode(torch.from_numpy(x).view(1, 1, -1), model.default_num_quantizers)[0] for x in sounds]
    seeds = [zlib.crc32(f"{seed} {take.id}".encode()) for take in takes]
    made = decode_in_lockstep(model, codes, speaker=speaker, seeds=seeds, decoder=decoder)
    for take, sound, waveform in zip(takes, sounds, made, strict=True):
        write_audio(wav_dir / f"{take.id}.wav", waveform[None, : len(sound)], model.sample_rate)
    return len(takes)


def _in_parallel(work: Callable[[list[Take]], int], batches: list[list[Take]], nj: int) -> Iterator[int]:
    if nj <= 1:
        yield from map(work, batches)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(nj, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for future in as_completed([pool.submit(work, batch) for batch in batches]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _duration_hint(take: Take) -> float:
    """Seconds of a cut, or the bytes of a file: only the order counts, and it is the same everywhere."""
    source = take.source
    if source.end is not None:
        return source.end - source.start
    return 0.0 if source.is_pipe else float(os.path.getsize(source.recording))


def _fingerprint(folder: Path, takes: Sequence[Take], options: tuple[object, ...]) -> dict[str, str]:
    digest = hashlib.sha256(repr(options).encode())
    for take in takes:
        stamp = None if take.source.is_pipe else os.stat(take.source.recording)
        changed = None if stamp is None else (stamp.st_size, stamp.st_mtime_ns)
        digest.update(repr((take.id, take.voice, replace(take.source, text=None), changed)).encode())
    return {"model": model_fingerprint(folder).hex(), "takes": digest.hexdigest()}
