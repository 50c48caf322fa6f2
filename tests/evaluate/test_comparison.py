"""Codecs by turns over the same files: costs, failures, tables and TSV."""

from __future__ import annotations

import numpy as np
import pytest

from audiovq.data.kaldi.datadir import DataDir
from audiovq.errors import BadAudioError
from audiovq.evaluate.comparison import Result, difference_table, remarks, report, sound_table, to_tree, to_tsv
from audiovq.evaluate.roundtrip import Coder, round_trip, totals
from audiovq.metrics.speech import metrics_for

RATE = 8000
METRICS = [metric for metric in metrics_for(RATE) if metric.name in ("mel_db", "lag_ms")]


def coder(name="lossless", *, encode=lambda x, _: x.tobytes(), decode=None, exact=True):
    decode = decode or (lambda data: np.frombuffer(data, np.float32))
    return Coder(name, RATE, encode, decode, lambda data: 8 * len(data) - 8, "a byte", exact)


@pytest.fixture(scope="module")
def utterances(data_dir):
    return DataDir.read(data_dir).utterances


def results(utterances, *coders, groups=None):
    trips = round_trip(utterances, coders, RATE, groups=groups)
    return [Result(c.name, c.container, t) for c, t in zip(coders, trips, strict=True)]


def test_a_lossless_codec_is_perfect_and_costs_its_bytes(utterances):
    (result,) = results(utterances, coder())
    assert [score.values["mel_db"] for score in result.scores] == [0.0] * 6
    seconds = sum(score.seconds for score in result.scores)
    assert result.totals.kbps == pytest.approx(32 * RATE / 1000)
    assert result.totals.payload_kbps == pytest.approx(32 * RATE / 1000 - 8 * 6 / seconds / 1000)
    assert result.totals.encode_rtf > 0


def test_work_is_counted_in_seconds_per_second_and_the_first_call_is_not(utterances):
    calls = []

    def slow_then_busy(x, _):
        calls.append(0)
        total = 0
        for i in range(3_000_000 if len(calls) == 1 else 30_000):
            total += i
        return x.tobytes()

    (result,) = results(utterances, coder(encode=slow_then_busy))
    costs = [trip.cost for trip in result.trips]
    assert len(calls) == 7
    assert max(cost.encode_cpu_seconds for cost in costs) < 20 * min(cost.encode_cpu_seconds for cost in costs)
    assert result.totals.encode_cpu == pytest.approx(
        sum(cost.encode_cpu_seconds for cost in costs) / result.totals.seconds
    )


def test_an_exact_codec_must_keep_the_length_and_another_is_fitted(utterances):
    def halved(data):
        return np.frombuffer(data, np.float32)[::2]

    def doubled(data):
        return np.tile(np.frombuffer(data, np.float32), 2)

    with pytest.raises(ValueError, match="equally long"):
        round_trip(utterances, [coder(decode=halved)], RATE)
    short, long = results(utterances, coder(decode=halved, exact=False), coder(decode=doubled, exact=False))
    assert short.summaries["all"]["mel_db"].mean > 1
    assert [score.values["mel_db"] for score in long.scores] == [0.0] * 6


def failing(x, speaker):
    if speaker == "bob":
        raise BadAudioError("coder failed: no Bob")
    return x.tobytes()


def test_a_file_that_can_not_be_coded_has_failed_scores_and_no_cost(utterances):
    good, bad = results(utterances, coder(), coder("picky", encode=failing))
    summary = bad.summaries["all"]["mel_db"]
    assert (summary.count, summary.failed, summary.mean) == (4, 2, 0.0)
    assert [trip.cost is None for trip in bad.trips] == [trip.score.id.startswith("bob") for trip in bad.trips]
    assert bad.totals.seconds < good.totals.seconds
    assert bad.totals.kbps == pytest.approx(good.totals.kbps)
    text = report([good, bad], METRICS)
    assert "0.00 [0.00, 0.00] (2 failed)" in text
    assert "failed: picky: mel dB, lag ms of bob-0, bob-1: coder failed: no Bob" in text
    assert "failed" in sound_table(results(utterances[2:4], coder(encode=failing)), METRICS)
    assert np.isnan(totals(results(utterances[2:4], coder(encode=failing))[0].trips).kbps)


def test_tables_have_every_codec_in_every_group(utterances):
    groups = {u.id: "seen" if u.speaker == "ann" else "unseen" for u in utterances}
    quiet = coder("quiet", decode=lambda data: np.frombuffer(data, np.float32) / 2)
    found = results(utterances, coder(), quiet, groups=groups)
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in sound_table(found, METRICS).splitlines()[2:]]
    names = [
        [name, group, n]
        for group, n in (("all", "6"), ("seen", "2"), ("unseen", "4"))
        for name in ("lossless", "quiet")
    ]
    assert rows == names
    differences = difference_table(found, METRICS).splitlines()
    assert len(differences) == 3
    mean = float(differences[2].split("|")[2].split("[")[0])
    assert mean == pytest.approx(found[1].summaries["all"]["mel_db"].mean, abs=0.01)
    assert mean > 2


def test_a_late_codec_is_named(utterances, sound, tmp_path):
    import soundfile

    from audiovq.data.kaldi.utterance import Utterance

    soundfile.write(tmp_path / "a.wav", sound(rate=RATE), RATE)
    late = coder("late", decode=lambda data: np.roll(np.frombuffer(data, np.float32), 80))
    found = results([Utterance("a", "ann", str(tmp_path / "a.wav"))], coder(), late)
    assert remarks(found, METRICS) == ["late: late: 1 of 1 files by 10.0 ms (median); it was removed before scoring"]


def test_tsv_and_json_have_a_line_and_an_entry_a_codec_and_file(utterances):
    found = results(utterances, coder(), coder("picky", encode=failing))
    lines = [line.split("\t") for line in to_tsv(found, METRICS).splitlines()]
    assert lines[0] == ["codec", "id", "group", "seconds", "payload_bits", "file_bits", "mel_db", "lag_ms"]
    assert len(lines) == 13
    assert lines[9][:3] == ["picky", "bob-0", ""]
    assert lines[9][4:] == ["NaN"] * 4
    good, picky = to_tree(found)
    assert good["files"][0]["cost"]["file_bits"] == good["files"][0]["cost"]["payload_bits"] + 8
    assert picky["files"][2]["cost"] is None
    assert picky["files"][2]["failures"]["mel_db"] == "coder failed: no Bob"
    assert picky["difference_to_first"]["mel_db"]["failed"] == 2
