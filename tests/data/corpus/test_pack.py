"""Packing: what goes in comes out, whatever the number of processes, and an interrupted pack is none."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.data.audio import read_audio
from audiovq.data.corpus import pack as pack_module
from audiovq.data.corpus.pack import pack, summary
from audiovq.data.corpus.packed import PackedCorpus
from audiovq.data.corpus.trim import trim_range
from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.data.kaldi.utterance import Utterance
from audiovq.data.pcm import to_int16
from audiovq.data.resampling import resample
from audiovq.errors import BadAudioError, BadDataError, OutputError

MakeData = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_pack_at_the_same_rate_holds_the_very_samples(make_data: MakeData, tmp_path: Path):
    data = make_data({"a-1": 5000, "a-2": 4000, "b-1": 3000})
    corpus = pack(data, tmp_path / "pack", 16000)
    assert [(u.id, u.speaker, u.num_samples) for u in corpus.utterances] == [
        ("a-1", "a", 5000),
        ("a-2", "a", 4000),
        ("b-1", "b", 3000),
    ]
    assert corpus.speakers == ["a", "b"]
    assert corpus.seconds == 12000 / 16000
    for i, u in enumerate(DataDir.read(data).utterances):
        np.testing.assert_array_equal(corpus.read(i), read_audio(u.recording)[0][0])
    np.testing.assert_array_equal(corpus.read(1, 100, 50), corpus.read(1)[100:150])
    assert corpus.read(2, 2990, 50).shape == (10,)


def test_it_resamples_and_mixes_down(make_data: MakeData, tmp_path: Path):
    data = make_data({"a-1": 44101}, rate=44100, channels=2)
    corpus = pack(data, tmp_path / "pack", 16000)
    waveform, _ = read_audio(DataDir.read(data).utterances[0].recording)
    wanted = to_int16(resample(waveform.mean(axis=0, keepdims=True), 44100, 16000)[0])
    assert corpus.utterances[0].num_samples == 16001
    np.testing.assert_array_equal(to_int16(corpus.read(0)), wanted)


def test_processes_do_not_change_the_result_and_shards_are_split(make_data: MakeData, tmp_path: Path):
    data = make_data({f"a-{i:02d}": 2000 + i for i in range(20)})
    one = pack(data, tmp_path / "one", 16000, shard_samples=9000)
    pack(data, tmp_path / "two", 16000, shard_samples=9000, nj=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert {u.shard for u in one.utterances} == {0, 1, 2, 3}
    whole = pack(data, tmp_path / "whole", 16000)
    for i in range(20):
        np.testing.assert_array_equal(one.read(i), whole.read(i))


def test_a_second_run_does_nothing_and_another_input_packs_anew(
    make_data: MakeData, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    data = make_data({"a-1": 5000})
    first = pack(data, tmp_path / "pack", 16000)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(pack_module, "_prepare", lambda *_, **__: pytest.fail("must not read the audio again"))
        again = pack(data, tmp_path / "pack", 16000)
    assert "nothing to do" in capsys.readouterr().err
    assert again.input_hash == first.input_hash
    assert pack(data, tmp_path / "pack", 8000).sample_rate == 8000
    # other audio under the same name
    soundfile.write(DataDir.read(data).utterances[0].recording, np.zeros(7000, np.int16), 16000)
    assert pack(data, tmp_path / "pack", 8000).utterances[0].num_samples == 3500
    assert [p.name for p in tmp_path.iterdir() if "pack" in p.name] == ["pack"]


def test_a_failure_or_interruption_leaves_the_old_pack_and_nothing_else(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = make_data({"a-1": 5000, "a-2": 5000})
    pack(data, tmp_path / "pack", 16000)
    before = contents(tmp_path / "pack")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pack_module.PackWriter, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pack(data, tmp_path / "pack", 8000)
    Path(DataDir.read(data).utterances[1].recording).write_bytes(b"")
    for nj in (1, 2):
        with pytest.raises(BadAudioError, match=r"utterance a-2: .*a-2\.wav: not audio"):
            pack(data, tmp_path / "pack", 16000, nj=nj)
    assert contents(tmp_path / "pack") == before
    assert [p.name for p in tmp_path.iterdir() if "pack" in p.name] == ["pack"]


def test_what_a_killed_run_left_behind_is_cleared_away(make_data: MakeData, tmp_path: Path):
    (tmp_path / ".pack.packing").mkdir()
    (tmp_path / ".pack.packing" / "shard-0007.i16").write_bytes(b"half")
    pack(make_data({"a-1": 5000}), tmp_path / "pack", 16000)
    assert sorted(os.listdir(tmp_path / "pack")) == ["index.json", "index.tsv", "shard-0000.i16"]
    assert not (tmp_path / ".pack.packing").exists()


def test_a_folder_that_is_no_pack_is_not_touched(make_data: MakeData, tmp_path: Path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    with pytest.raises(OutputError, match="thesis: exists and is not a packed corpus"):
        pack(make_data({"a-1": 5000}), tmp_path / "thesis", 16000)
    assert contents(tmp_path / "thesis") == {"chapter.txt": b"mine"}


def test_trimming_keeps_the_margin_and_drops_say_why(tmp_path: Path):
    rate = 16000
    loud = np.random.default_rng(0).normal(0, 0.1, rate).astype(np.float32)
    quiet = np.random.default_rng(1).normal(0, 1e-5, rate).astype(np.float32)
    recordings = {
        "a-1": np.concatenate([quiet, loud, quiet]),
        "a-2": np.zeros(rate, np.float32),
        "a-3": loud[:800],
        "a-4": np.concatenate([loud] * 4),
    }
    for name, samples in recordings.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, rate, subtype="FLOAT")
    utterances = tuple(Utterance(name, "a", str(tmp_path / f"{name}.wav")) for name in recordings)
    DataDir(utterances).write(tmp_path / "data")
    corpus = pack(tmp_path / "data", tmp_path / "pack", rate, trim_db=40, min_seconds=0.2, max_seconds=3)
    assert [u.id for u in corpus.utterances] == ["a-1"]
    assert corpus.dropped == {"a-2": "silent", "a-3": "shorter than 0.2 s", "a-4": "longer than 3 s"}
    assert "dropped 1: silent" in summary(corpus)
    assert corpus.seconds == pytest.approx(1.0 + 2 * 0.1, abs=0.05)
    # all of the loud part is in it
    start, end = trim_range(recordings["a-1"], rate, 40)
    assert start <= rate - 0.1 * rate
    assert end >= 2 * rate + 0.1 * rate
    close = pack(
        tmp_path / "data", tmp_path / "close", rate, trim_db=40, trim_margin=0.02, max_seconds=3, min_seconds=0.2
    )
    assert close.seconds == pytest.approx(1.0 + 2 * 0.02, abs=0.05)
    assert close.seconds < corpus.seconds - 0.1
    untrimmed = pack(tmp_path / "data", tmp_path / "all", rate)
    assert [u.num_samples for u in untrimmed.utterances] == [3 * rate, rate, 4 * rate]


def test_a_pack_with_nothing_left_is_refused(make_data: MakeData, tmp_path: Path):
    with pytest.raises(BadDataError, match="none of its 1 utterances is left"):
        pack(make_data({"a-1": 100}), tmp_path / "pack", 16000, min_seconds=1)
    assert not (tmp_path / "pack").exists()


def test_damaged_packs_are_refused_by_name(make_data: MakeData, tmp_path: Path):
    with pytest.raises(BadDataError, match="none: not a packed corpus"):
        PackedCorpus.open(tmp_path / "none")
    folder = pack(make_data({"a-1": 5000}), tmp_path / "pack", 16000).path
    shard, rows, index = folder / "shard-0000.i16", folder / "index.tsv", folder / "index.json"
    samples, table = shard.read_bytes(), rows.read_text()
    shard.write_bytes(samples[:-2])
    with pytest.raises(BadDataError, match=r"shard-0000\.i16: missing or not 10000 bytes"):
        PackedCorpus.open(folder)
    shard.write_bytes(samples)
    rows.write_text(table + "b-1\tb\n")
    with pytest.raises(BadDataError, match=r"index\.tsv:2: malformed"):
        PackedCorpus.open(folder)
    rows.write_text(table)
    index.write_text(index.read_text()[:50])
    with pytest.raises(BadDataError, match=r"index\.json: damaged"):
        PackedCorpus.open(folder)


def test_an_open_pack_can_be_sent_to_another_process(make_data: MakeData, tmp_path: Path):
    corpus = pack(make_data({"a-1": 5000}), tmp_path / "pack", 16000)
    corpus.read(0)
    pickled = pickle.dumps(corpus)
    assert len(pickled) < 2000  # the index, not the samples
    np.testing.assert_array_equal(pickle.loads(pickled).read(0), corpus.read(0))


def test_a_killed_pack_goes_on_after_its_last_finished_shard(make_data: MakeData, tmp_path: Path):
    data = make_data({f"a-{i:03d}": 3000 + i for i in range(120)})
    options = {"nj": 2, "shard_samples": 30000}
    wanted = contents(pack(data, tmp_path / "whole", 16000, **options).path)
    # each utterance takes a while, so that the kill comes in the middle
    script = tmp_path / "slow.py"
    script.write_text(
        "import sys, time, audiovq.data.corpus.pack as p\n"
        "plain = p._prepare\n"
        "def slow(*args, **options):\n"
        "    time.sleep(0.02)\n"
        "    return plain(*args, **options)\n"
        "if __name__ == '__main__':\n"
        "    p._prepare = slow\n"
        f"    p.pack(sys.argv[1], sys.argv[2], 16000, **{options})\n"
    )
    partial = tmp_path / ".pack.packing"
    with subprocess.Popen([sys.executable, script, data, tmp_path / "pack"], start_new_session=True) as process:
        wait_for(lambda: len(list(partial.glob("shard-*.json"))) >= 2)
        process.kill()
    wait_for(lambda: not processes_of_group(process.pid))  # its workers end too
    finished = sorted(p.name for p in partial.glob("shard-*.json"))
    assert not (tmp_path / "pack").exists()
    assert 2 <= len(finished) < 12
    kept = {name: (partial / name).with_suffix(".i16").stat().st_mtime_ns for name in finished}
    done = sum(json.loads((partial / name).read_text())["covers"] for name in finished)

    read = []
    with pytest.MonkeyPatch.context() as patch:
        plain = pack_module._prepare
        patch.setattr(pack_module, "_prepare", lambda u, **o: (read.append(u.id), plain(u, **o))[1])
        pack(data, tmp_path / "pack", 16000, **(options | {"nj": 1}))
    assert read == [f"a-{i:03d}" for i in range(done, 120)]
    assert contents(tmp_path / "pack") == wanted
    assert {n: (tmp_path / "pack" / n).with_suffix(".i16").stat().st_mtime_ns for n in finished} == kept
    assert not partial.exists()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def processes_of_group(leader: int) -> list[str]:
    """Living processes of a session, by Linux's /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(status.parent.name)
    return found


def test_what_was_packed_is_used_again_only_where_nothing_changed(make_data: MakeData, tmp_path: Path):
    data = make_data({f"a-{i}": 5000 for i in range(6)})
    utterances = DataDir.read(data).utterances
    good = Path(utterances[4].recording).read_bytes()
    Path(utterances[4].recording).write_bytes(b"")
    with pytest.raises(BadAudioError, match="a-4"):
        pack(data, tmp_path / "pack", 16000, shard_samples=9000)
    notes = tmp_path / ".pack.packing"
    assert sorted(p.name for p in notes.glob("*.json")) == ["shard-0000.json"]  # two utterances a shard
    Path(utterances[4].recording).write_bytes(good)
    soundfile.write(utterances[1].recording, np.zeros(7000, np.int16), 16000)  # in the finished shard
    corpus = pack(data, tmp_path / "pack", 16000, shard_samples=9000)
    assert [u.num_samples for u in corpus.utterances] == [5000, 7000, 5000, 5000, 5000, 5000]
    assert not corpus.read(1).any()
    assert not notes.exists()


def test_a_pack_that_was_finished_but_not_yet_in_its_place_is_put_there(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = make_data({f"a-{i}": 5000 for i in range(6)})
    wanted = contents(pack(data, tmp_path / "whole", 16000, shard_samples=9000).path)
    pack(data, tmp_path / "pack", 8000)  # an older one stands there

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pack_module, "_replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pack(data, tmp_path / "pack", 16000, shard_samples=9000)
    assert PackedCorpus.open(tmp_path / "pack").sample_rate == 8000
    monkeypatch.setattr(pack_module, "_prepare", lambda *_, **__: pytest.fail("must not read the audio again"))
    pack(data, tmp_path / "pack", 16000, shard_samples=9000)
    assert contents(tmp_path / "pack") == wanted
    assert sorted(p.name for p in tmp_path.iterdir() if "pack" in p.name) == ["pack"]


def test_damaged_samples_are_noticed_when_first_used(make_data: MakeData, tmp_path: Path):
    folder = pack(make_data({"a-1": 5000, "a-2": 5000, "a-3": 5000}), tmp_path / "pack", 16000).path
    shard = folder / "shard-0000.i16"
    data = bytearray(shard.read_bytes())
    data[2 * 7000] ^= 1
    shard.write_bytes(data)
    corpus = pickle.loads(pickle.dumps(PackedCorpus.open(folder)))
    for number in (0, 2):
        assert len(corpus.read(number, 100, 50)) == 50
    with pytest.raises(BadDataError, match=r"shard-0000\.i16: the samples of utterance a-2 are damaged"):
        corpus.read(1, 100, 50)


def test_a_pack_without_checksums_is_read(make_data: MakeData, tmp_path: Path):
    folder = pack(make_data({"a-1": 5000}), tmp_path / "pack", 16000).path
    wanted = PackedCorpus.open(folder).read(0)
    index, rows = json.loads((folder / "index.json").read_text()), (folder / "index.tsv").read_text()
    del index["rows_crc32"], index["remarks"]
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "index.tsv").write_text(rows.rsplit("\t", 1)[0] + "\n")
    np.testing.assert_array_equal(PackedCorpus.open(folder).read(0), wanted)


def test_no_damage_to_a_pack_gives_other_sound_or_an_error_of_another_kind(make_data: MakeData, tmp_path: Path):
    folder = pack(make_data({f"a-{i}": 2000 + i for i in range(6)}), tmp_path / "pack", 16000, shard_samples=5000).path
    whole = contents(folder)
    wanted = {u.id: PackedCorpus.open(folder).read(i) for i, u in enumerate(PackedCorpus.open(folder).utterances)}
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        name = str(generator.choice(sorted(whole)))
        data = bytearray(whole[name])
        match int(generator.integers(5)):
            case 0:
                data[generator.integers(len(data))] = int(generator.integers(256))
            case 1:
                del data[generator.integers(len(data)) :]
            case 2:
                place = int(generator.integers(len(data)))
                data[place:place] = data[: int(generator.integers(1, 40))]
            case 3 if name == "index.json":
                index = json.loads(data)
                index[str(generator.choice(sorted(index)))] = generator.choice(
                    np.array([None, -1, "x", [], [1.5], {"a": 1}, True, 10**30], dtype=object)
                )
                data = bytearray(json.dumps(index).encode())
            case _:
                lines = data.split(b"\t")
                lines[generator.integers(len(lines))] = bytes(generator.choice([b"-5", b"", b"99999999", b"x"]))
                data = bytearray(b"\t".join(lines))
        (folder / name).write_bytes(data)
        try:
            corpus = PackedCorpus.open(folder)
            found = {u.id: corpus.read(i) for i, u in enumerate(corpus.utterances)}
            assert all(np.array_equal(wanted[u], samples) for u, samples in found.items()), (name, data)
            assert found.keys() == wanted.keys()
        except BadDataError:
            refused += 1
        finally:
            (folder / name).write_bytes(whole[name])
    assert refused > 200


def test_odd_utterances_are_named_by_pack_and_by_validation(tmp_path: Path):
    rate, noise = 16000, 0.1 * np.random.default_rng(0).standard_normal(16000)
    sounds = {
        "a-cancels": np.stack([noise, -noise]),
        "a-nearly": np.stack([noise, -0.9 * noise]),
        "a-fine": np.stack([noise, 0 * noise]),
        "a-silent": np.zeros((2, rate)),
        "a-int16": 32768 * noise[None],
        "a-mono": noise[None],
    }
    for name, sound in sounds.items():
        soundfile.write(tmp_path / f"{name}.wav", sound.T, rate, subtype="FLOAT")
    utterances = sorted((Utterance(n, "a", str(tmp_path / f"{n}.wav")) for n in sounds), key=lambda u: u.id)
    DataDir(tuple(utterances)).write(tmp_path / "data")
    for nj in (1, 2):
        with pytest.warns(UserWarning, match=": utterance a-cancels has channels that cancel") as told:
            corpus = pack(tmp_path / "data", tmp_path / f"pack{nj}", rate, nj=nj)
        words = {"a-cancels": "cancel", "a-nearly": "cancel", "a-silent": "is silent", "a-int16": "divide them"}
        assert corpus.remarks.keys() == words.keys()
        assert all(word in corpus.remarks[name] for name, word in words.items())
        assert len([w for w in told if ": utterance a-" in str(w.message)]) == len(words)
    piped = tuple(replace(u, recording=f"echo >> {tmp_path}/runs; cat {u.recording} |") for u in utterances)
    DataDir(piped).write(tmp_path / "piped")
    for data in ("data", "piped"):
        with pytest.warns(UserWarning, match=r"scp:\d: a-cancels has channels that cancel") as told:
            assert validate(tmp_path / data, audio=True) == []
        said = [str(w.message) for w in told]
        assert all(any(f": {name} " in line and word in line for line in said) for name, word in words.items())
        assert len(said) == len(words)
    assert (tmp_path / "runs").read_text().count("\n") == len(piped)  # each command ran once


def test_a_silent_segment_of_a_command_is_named_by_validation(tmp_path: Path):
    loud = 0.1 * np.random.default_rng(0).standard_normal(16000)
    soundfile.write(tmp_path / "r.wav", np.concatenate([loud, np.zeros(16000), loud]), 16000)
    command = f"cat {tmp_path}/r.wav |"
    cuts = [Utterance(f"a-{n}", "a", command, n, n + 1, recording_id="r") for n in range(3)]
    DataDir(tuple(cuts)).write(tmp_path / "data")
    with pytest.warns(UserWarning, match=r"segments:2: a-1 is silent") as told:
        assert validate(tmp_path / "data", audio=True) == []
    assert len(told) == 1


def test_a_full_disk_is_named_with_the_pack(make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("audiovq.data.corpus.packed.PackWriter._sync", full)
    with pytest.raises(OutputError, match=r"pack: can't be written \(No space left on device\)"):
        pack(make_data({"a-1": 16000}), tmp_path / "pack", 16000)
    assert list(tmp_path.glob("*pack*")) == []
