"""Batches are a pure function of (seed, step, rank), and draw what they promise to draw."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from audiovq.data.corpus.pack import pack
from audiovq.data.corpus.packed import PackedCorpus
from audiovq.data.corpus.segments import Batch, SegmentBatches, SegmentDataset, eval_segments
from audiovq.errors import BadDataError, ConfigError

MakeData = Callable[..., Path]


@pytest.fixture
def corpora(make_data: MakeData, tmp_path: Path) -> list[tuple[PackedCorpus, float]]:
    first = make_data({"a-1": 8000, "a-2": 3000, "b-1": 400}, name="first")
    second = make_data({"c-1": 5000, "c-2": 5000}, name="second")
    options = {"sample_rate": 16000, "min_seconds": 0.0}
    return [(pack(first, tmp_path / "p1", **options), 3.0), (pack(second, tmp_path / "p2", **options), 1.0)]


def same(a: Batch, b: Batch) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_batch_depends_on_seed_and_step_alone(corpora):
    options = {"batch_size": 4, "segment_samples": 1000, "gain_db": (-6.0, 3.0)}
    one, two = SegmentBatches(corpora, seed=1, **options), SegmentBatches(corpora, seed=1, **options)
    for step in range(5):  # what one object was asked before must not matter
        one.batch(step)
    assert same(one.batch(7), two.batch(7))
    assert same(one.batch(2), pickle.loads(pickle.dumps(two)).batch(2))
    assert not same(one.batch(7), one.batch(8))
    assert not same(one.batch(7), SegmentBatches(corpora, seed=2, **options).batch(7))


@pytest.mark.parametrize("world_size", [2, 3])
def test_all_world_sizes_see_the_same_global_batch(corpora, world_size: int):
    options = {"batch_size": 6, "segment_samples": 1000, "seed": 5, "gain_db": (-6.0, 6.0)}
    whole = SegmentBatches(corpora, **options)
    ranks = [SegmentBatches(corpora, rank=r, world_size=world_size, **options) for r in range(world_size)]
    for step in (0, 1, 1_000_000):
        parts = [r.batch(step) for r in ranks]
        assert all(len(p["waveform"]) == 6 // world_size for p in parts)
        assert same({k: torch.cat([p[k] for p in parts]) for k in parts[0]}, whole.batch(step))


def test_segments_are_cut_from_the_corpus_and_short_ones_padded(corpora):
    batches = SegmentBatches(corpora, batch_size=64, segment_samples=1000, seed=0, speakers=["a", "b", "c"])
    batch = batches.batch(0)
    assert batch["waveform"].shape == (64, 1, 1000)
    assert batch["waveform"].dtype == torch.float32
    assert batch["speaker"].dtype == batch["num_samples"].dtype == torch.int64
    wholes = {(u.speaker, i): c.read(i) for c, _ in corpora for i, u in enumerate(c.utterances)}
    for waveform, speaker, num_samples in zip(
        *(batch[name] for name in ("waveform", "speaker", "num_samples")), strict=True
    ):
        segment = waveform[0, :num_samples].numpy()
        assert not waveform[0, num_samples:].any()
        name = "abc"[int(speaker)]
        assert num_samples == (400 if name == "b" else 1000)
        found = [
            start
            for (who, _), whole in wholes.items()
            if who == name
            for start in np.flatnonzero(whole == segment[0])
            if np.array_equal(whole[start : start + num_samples], segment)
        ]
        assert found


def test_a_batch_says_where_its_segments_come_from_and_they_start_where_they_must(corpora):
    batches = SegmentBatches(corpora, batch_size=64, segment_samples=100, seed=0, align=40)
    batch = batches.batch(0)
    starts = set()
    for waveform, (corpus, utterance, start) in zip(batch["waveform"], batch["origin"].tolist(), strict=True):
        np.testing.assert_array_equal(waveform[0].numpy(), corpora[corpus][0].read(utterance, start, 100))
        starts.add(start)
    assert len(starts) > 5
    assert all(start % 40 == 0 for start in starts)


def test_corpora_are_drawn_by_weight_and_utterances_by_duration(corpora):
    batches = SegmentBatches(corpora, batch_size=2000, segment_samples=50, seed=0, speakers=["a", "b", "c"])
    counts = Counter(batches.batch(0)["speaker"].tolist())
    # 3 : 1 by weight; within the first 11000 : 400 by duration; three standard deviations
    assert counts[2] == pytest.approx(500, abs=60)
    assert counts[1] == pytest.approx(1500 * 400 / 11400, abs=24)


def test_starts_cover_the_utterance_to_its_last_sample(make_data: MakeData, tmp_path: Path):
    corpus = pack(make_data({"a-1": 1610}), tmp_path / "pack", 16000)
    waveform = SegmentBatches([(corpus, 1.0)], batch_size=400, segment_samples=1600, seed=3).batch(0)["waveform"]
    first = {float(x): i for i, x in enumerate(corpus.read(0)[:11])}
    assert {first[float(w[0, 0])] for w in waveform} == set(range(11))


def test_gain_is_random_in_db_and_never_clips(corpora):
    options = {"batch_size": 200, "segment_samples": 500, "seed": 0}
    plain = SegmentBatches(corpora, **options).batch(0)["waveform"]
    scaled = SegmentBatches(corpora, gain_db=(-12.0, 24.0), **options).batch(0)["waveform"]
    gain_db = 20 * torch.log10(scaled.abs().amax((1, 2)) / plain.abs().amax((1, 2)))
    assert scaled.abs().max() <= 1.0
    assert gain_db.min() == pytest.approx(-12, abs=1)
    # noise of peak 8000/32768 has 12.2 dB of room: a third of the range is held there
    assert gain_db.max() == pytest.approx(20 * np.log10(32768 / 8000), abs=0.2)
    assert 0.2 < float((gain_db > 12).float().mean()) < 0.5
    steady = SegmentBatches(corpora, gain_db=(-6.0, -6.0), **options).batch(0)["waveform"]
    torch.testing.assert_close(steady, plain * 10 ** (-6 / 20))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_steps_in_order_from_any_start(corpora, workers: int):
    batches = SegmentBatches(corpora, batch_size=2, segment_samples=200, seed=9)
    loader = DataLoader(SegmentDataset(batches, start_step=5), batch_size=None, num_workers=workers)
    for step, batch in enumerate(islice(loader, 6), start=5):
        assert same(batch, batches.batch(step))


def test_speakers_are_looked_up_in_the_frozen_list(corpora):
    options = {"batch_size": 30, "segment_samples": 100, "seed": 0}
    assert not SegmentBatches(corpora, **options).batch(0)["speaker"].any()
    frozen = ["z", "c", "b", "a"]
    assert set(SegmentBatches(corpora, speakers=frozen, **options).batch(0)["speaker"].tolist()) >= {1, 3}
    with pytest.raises(BadDataError, match=r"p1: speaker b is not among the model's 2 speakers"):
        SegmentBatches(corpora, speakers=["a", "c"], **options)


def test_impossible_sizes_are_refused(corpora, make_data: MakeData, tmp_path: Path):
    with pytest.raises(ConfigError, match="5 segments can't be shared evenly by 2"):
        SegmentBatches(corpora, batch_size=5, segment_samples=10, seed=0, world_size=2)
    with pytest.raises(ConfigError, match="weight"):
        SegmentBatches([(corpora[0][0], 0.0)], batch_size=4, segment_samples=10, seed=0)
    with pytest.raises(ConfigError, match="at least one"):
        SegmentBatches([], batch_size=4, segment_samples=10, seed=0)
    other = pack(make_data({"d-1": 5000}, name="other"), tmp_path / "p3", 8000)
    with pytest.raises(BadDataError, match=r"different rates \[8000, 16000\]"):
        SegmentBatches([*corpora, (other, 1.0)], batch_size=4, segment_samples=10, seed=0)


def test_validation_segments_are_the_middles_and_the_same_each_time(corpora):
    corpus = corpora[0][0]
    items = eval_segments(corpus, 1000, 10, speakers=["a", "b"])
    assert [item["utterance"] for item in items] == ["a-1", "a-2", "b-1"]
    assert [int(item["speaker"]) for item in items] == [0, 0, 1]
    assert [int(item["num_samples"]) for item in items] == [1000, 1000, 400]
    np.testing.assert_array_equal(items[0]["waveform"][0].numpy(), corpus.read(0)[3500:4500])
    assert items[2]["waveform"].shape == (1, 1000)
    (only,) = DataLoader(eval_segments(corpus, 1000, 2), batch_size=2)
    assert only["waveform"].shape == (2, 1, 1000)
