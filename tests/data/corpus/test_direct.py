"""A data directory read as it lies gives what its pack gives, utterance for utterance and segment for segment."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiovq.data.corpus.base import Corpus
from audiovq.data.corpus.direct import DirectCorpus
from audiovq.data.corpus.open import open_corpus
from audiovq.data.corpus.pack import pack
from audiovq.data.corpus.packed import PackedCorpus
from audiovq.data.corpus.segments import SegmentBatches, eval_segments
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadAudioError, BadDataError

MakeData = Callable[..., Path]
ROUNDING = 0.5 / 32768 + 1e-6  # of the pack's 16 bits
LENGTHS = {"a-1": 48000, "a-2": 20011, "b-1": 7919, "b-2": 300}


@pytest.fixture(params=[(48000, 16000), (44100, 16000), (11025, 16000), (16000, 16000), (8000, 44100)], ids=str)
def both(request: pytest.FixtureRequest, make_data: MakeData, tmp_path: Path) -> tuple[Corpus, Corpus]:
    """The same data packed and direct; stereo, with segments."""
    rate, target = request.param
    data = make_data(LENGTHS, rate=rate, channels=2)
    whole = DataDir.read(data)
    first = whole.utterances[0]
    cuts = [(f"a-1-{n}", start, end) for n, (start, end) in enumerate([(0.1, 0.5), (0.5, None)])]
    cut = [Utterance(u, "a", first.recording, start, end, None, "a-1") for u, start, end in cuts]
    DataDir((*cut, *whole.utterances[1:])).write(tmp_path / "cut")
    return pack(tmp_path / "cut", tmp_path / "pack", target), open_corpus(tmp_path / "cut", target)


def test_utterances_lengths_and_speakers_are_the_packs(both: tuple[Corpus, Corpus]):
    packed, direct = both
    assert isinstance(direct, DirectCorpus)
    facts = [[(u.id, u.speaker, u.num_samples) for u in corpus.utterances] for corpus in both]
    assert facts[0] == facts[1]
    assert packed.dropped == direct.dropped
    assert (packed.speakers, packed.seconds, len(packed)) == (direct.speakers, direct.seconds, len(direct))


def test_any_part_is_that_slice_of_the_pack(both: tuple[Corpus, Corpus]):
    packed, _ = both
    random = np.random.default_rng(0)
    for i, u in enumerate(packed.utterances):
        parts = [(0, None), (0, 100), (u.num_samples - 50, 100), (u.num_samples, 10), (u.num_samples - 1, 1)]
        parts += [(int(random.integers(u.num_samples)), int(random.integers(1, 3000))) for _ in range(5)]
        for start, num_samples in parts:
            wanted, found = (corpus.read(i, start, num_samples) for corpus in both)
            assert found.dtype == np.float32
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, atol=2 * ROUNDING)


def test_the_same_segments_are_drawn(both: tuple[Corpus, Corpus]):
    options = {"batch_size": 8, "segment_samples": 1000, "seed": 3, "speakers": ["a", "b"]}
    packed, direct = (SegmentBatches([(corpus, 1.0)], **options) for corpus in both)
    for step in (0, 5):
        wanted, found = packed.batch(step), pickle.loads(pickle.dumps(direct)).batch(step)
        torch.testing.assert_close(found["waveform"], wanted["waveform"], rtol=0, atol=2 * ROUNDING)
        assert torch.equal(found["speaker"], wanted["speaker"])
        assert torch.equal(found["num_samples"], wanted["num_samples"])
    fixed = [[item["utterance"] for item in eval_segments(corpus, 500, 3)] for corpus in both]
    assert fixed[0] == fixed[1]


def test_what_cannot_be_read_in_parts_is_refused_with_its_line(make_data: MakeData, tmp_path: Path):
    data = make_data({"a-1": 5000})
    recording = DataDir.read(data).utterances[0].recording
    for value in (f"cat {recording} |", "wavs.ark:17"):
        (data / "wav.scp").write_text(f"a-1 {value}\n")
        with pytest.raises(BadDataError, match=r"wav\.scp: a-1: no part of .* use `audiovq data pack`"):
            DirectCorpus(data, 16000)
    (data / "wav.scp").write_text("a-1 gone.wav\n")
    with pytest.raises(BadAudioError, match=r"wav\.scp: a-1: gone\.wav: no such file"):
        DirectCorpus(data, 16000)
    short = make_data({"a-1": 100}, name="short")
    with pytest.raises(BadDataError, match=r"short: none of its utterances is as long as 0\.1 s"):
        DirectCorpus(short, 16000)


def test_a_file_that_changes_under_training_is_noticed(make_data: MakeData):
    data = make_data({"a-1": 5000})
    corpus = DirectCorpus(data, 16000)
    soundfile.write(DataDir.read(data).utterances[0].recording, np.zeros(3000), 16000)
    assert corpus.read(0, 0, 1000).shape == (1000,)
    with pytest.raises(BadAudioError, match=r"utterance a-1: .* has changed since training began"):
        corpus.read(0, 2500, 1000)


def test_what_the_folder_holds_decides_how_it_is_read(make_data: MakeData, tmp_path: Path):
    data = make_data({"a-1": 5000})
    assert isinstance(open_corpus(pack(data, tmp_path / "pack", 8000).path, 8000), PackedCorpus)
    direct = open_corpus(data, 8000)
    assert isinstance(direct, DirectCorpus)
    assert open_corpus(data, 8000) is direct  # headers are read once
    with pytest.raises(BadDataError, match="pack: packed at 8000 Hz, but 16000 Hz are wanted"):
        open_corpus(tmp_path / "pack", 16000)
    with pytest.raises(BadDataError, match="none: not a packed corpus"):
        open_corpus(tmp_path / "none", 16000)
