"""Utterances through a model: lockstep equals alone, any number of processes gives the same files, and only once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiovq.audio import sample_wavenet
from audiovq.data.kaldi import datadir
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadDataError, BadModelError, OutputError
from audiovq.evaluate.resynthesis import Take, decode_in_lockstep, mono, original_of, resynthesize, rotated_voices


def own_voices(data):
    return [Take(u.id, u.speaker, u) for u in data.utterances]


def test_lockstep_equals_one_by_one(model):
    codes = [torch.randint(16, (1, frames), generator=torch.Generator().manual_seed(frames)) for frames in (9, 4, 6)]
    speaker, seeds = torch.tensor([0, 2, 1]), [7, 8, 9]
    together = decode_in_lockstep(model, codes, speaker=speaker, seeds=seeds)
    for i, one in enumerate(codes):
        uniforms = torch.rand(
            1, one.shape[-1] * 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seeds[i])
        )
        vector = model.speaker_vector(speaker[i : i + 1])
        alone, _ = sample_wavenet(model.decoders["wavenet"], model.quantizer.decode(one[None]), uniforms, vector)
        np.testing.assert_allclose(together[i], alone[0, 0].numpy(), atol=1e-5)


def test_unknown_decoder_is_named(model):
    with pytest.raises(BadModelError, match="'fast'"):
        decode_in_lockstep(
            model, [torch.zeros(1, 2, dtype=torch.int64)], speaker=torch.tensor([0]), seeds=[0], decoder="fast"
        )


def test_output_is_a_sound_data_directory_of_the_same_lengths(model_folder, data_dir, tmp_path):
    data = DataDir.read(data_dir)
    assert resynthesize(model_folder, own_voices(data), tmp_path / "out", batch_size=4)
    assert datadir.validate(tmp_path / "out") == []
    made = DataDir.read(tmp_path / "out")
    assert [(u.id, u.speaker, u.text) for u in made.utterances] == [(u.id, u.speaker, u.text) for u in data.utterances]
    assert [len(mono(u, 8000)) for u in made.utterances] == [len(mono(u, 8000)) for u in data.utterances]
    assert {p.name for p in tmp_path.iterdir()} == {"out"}


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_bytes(model_folder, data_dir, tmp_path):
    takes = own_voices(DataDir.read(data_dir))
    for nj in (1, 2):
        resynthesize(model_folder, takes, tmp_path / str(nj), nj=nj, batch_size=4)
    for take in takes:
        name = f"wav/{take.id}.wav"
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_second_run_does_nothing_and_another_seed_does(model_folder, data_dir, tmp_path):
    takes = own_voices(DataDir.read(data_dir))[:2]
    file = tmp_path / "out" / "wav" / f"{takes[0].id}.wav"
    assert resynthesize(model_folder, takes, tmp_path / "out")
    first = file.read_bytes()
    assert not resynthesize(model_folder, takes, tmp_path / "out")
    assert resynthesize(model_folder, takes, tmp_path / "out", seed=1)
    assert file.read_bytes() != first
    assert resynthesize(model_folder, takes, tmp_path / "out", seed=0)
    assert file.read_bytes() == first


def test_failure_leaves_what_was_there(model_folder, data_dir, tmp_path):
    takes = own_voices(DataDir.read(data_dir))[:2]
    resynthesize(model_folder, takes, tmp_path / "out")
    before = sorted(p.name for p in (tmp_path / "out" / "wav").iterdir())
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    with pytest.raises(Exception, match="broken"):
        resynthesize(model_folder, [*takes, Take("x", "ann", Utterance("x", "ann", str(broken)))], tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out" / "wav").iterdir()) == before
    assert {p.name for p in tmp_path.iterdir()} == {"out", "broken.wav"}


def test_foreign_folders_unknown_voices_and_nothing_to_do_are_refused(model_folder, data_dir, tmp_path):
    takes = own_voices(DataDir.read(data_dir))[:1]
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputError, match="not made by this program"):
        resynthesize(model_folder, takes, tmp_path / "mine")
    with pytest.raises(BadDataError, match="speaker zoe"):
        resynthesize(model_folder, [Take("x", "zoe", takes[0].source)], tmp_path / "out")
    with pytest.raises(BadDataError, match="no utterances"):
        resynthesize(model_folder, [], tmp_path / "out")


def test_rotation_reaches_every_other_speaker_equally_and_knows_its_way_back(data_dir):
    utterances = tuple(Utterance(f"{s}-{k}", s, "x.wav") for s in ("ann", "bob", "cyd") for k in range(4))
    takes = rotated_voices(DataDir(utterances))
    pairs = [(t.source.speaker, t.voice) for t in takes]
    assert len(takes) == 12
    assert all(source != voice for source, voice in pairs)
    assert {pairs.count(pair) for pair in pairs} == {2}
    assert len(set(pairs)) == 6
    originals = {u.id: u for u in utterances}
    for take in takes:
        assert original_of(Utterance(take.id, take.voice, "y.wav"), originals) == take.source
    with pytest.raises(BadDataError, match="ann"):
        rotated_voices(DataDir(utterances[:4]))
