"""Subsets and splits: which utterances, and that nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from audiovq.data.kaldi import select
from audiovq.data.kaldi.combine import combine
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadDataError

MakeData = Callable[..., Path]


def directory(sizes: dict[str, int]) -> DataDir:
    ids = sorted(f"{speaker}-{i:02d}" for speaker, size in sizes.items() for i in range(size))
    return DataDir(tuple(Utterance(u, u.split("-")[0], f"{u}.wav", recording_id=u) for u in ids))


def ids(data: DataDir) -> list[str]:
    return [u.id for u in data.utterances]


DATA = directory({"a": 5, "b": 2, "c": 8})


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        (select.first(DATA, 2), ["a-00", "a-01"]),
        (select.last(DATA, 2), ["c-06", "c-07"]),
        (select.spread(DATA, 5), ["a-00", "a-03", "b-01", "c-02", "c-05"]),
        (select.of_speakers(DATA, ["b"]), ["b-00", "b-01"]),
        (select.per_speaker(DATA, 2), ["a-00", "a-02", "b-00", "b-01", "c-00", "c-04"]),
        (select.per_speaker(DATA, 3, "first"), ["a-00", "a-01", "a-02", "b-00", "b-01", "c-00", "c-01", "c-02"]),
        (select.per_speaker(DATA, 3, "last"), ["a-02", "a-03", "a-04", "b-00", "b-01", "c-05", "c-06", "c-07"]),
        (select.first(DATA, 99), ids(DATA)),
    ],
)
def test_which_utterances_are_chosen(chosen: list[str], wanted: list[str]):
    assert chosen == wanted
    assert ids(select.keep(DATA, chosen)) == wanted


def test_whole_speakers_until_there_are_enough():
    for number in range(1, 16):
        chosen = select.keep(DATA, select.enough_speakers(DATA, number))
        assert len(chosen.utterances) >= number
        assert ids(chosen) == select.of_speakers(DATA, chosen.speakers)
    assert select.enough_speakers(DATA, 3) == select.enough_speakers(DATA, 3)


def test_the_shortest_are_found_by_segments_utt2dur_or_the_audio(make_data: MakeData):
    data = DataDir.read(make_data({"a-1": 1600, "a-2": 300, "b-1": 800}))
    assert select.shortest(data, 2) == ["a-2", "b-1"]
    stated = DataDir(data.utterances, tables={"utt2dur": {"a-1": "1", "a-2": "3", "b-1": "2"}})
    assert select.shortest(stated, 2) == ["a-1", "b-1"]
    cut = DataDir(tuple(Utterance(u, "a", "none.wav", 1.0, end, None, "r") for u, end in (("a-1", 3.0), ("a-2", 2.0))))
    assert select.shortest(cut, 1) == ["a-2"]


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_split_keeps_speakers_whole(parts: int):
    pieces = select.split(DATA, parts)
    assert [u for piece in pieces for u in ids(piece)] == ids(DATA)
    assert sum(len(piece.speakers) for piece in pieces) == 3
    assert all(piece.utterances for piece in pieces)
    if parts == 2:  # 7 and 8 is as even as it gets
        assert [len(piece.utterances) for piece in pieces] == [7, 8]


@pytest.mark.parametrize("parts", [1, 4, 7, 15])
def test_a_split_by_utterance_is_even(parts: int):
    sizes = [len(piece.utterances) for piece in select.split(DATA, parts, per_utterance=True)]
    assert sum(sizes) == 15
    assert max(sizes) - min(sizes) <= 1


def test_one_large_speaker_leaves_something_for_every_part():
    for sizes in ({"a": 90, "b": 1, "c": 1, "d": 1}, {"a": 1, "b": 1, "c": 1, "d": 90}):
        pieces = select.split(directory(sizes), 4)
        assert [len(piece.speakers) for piece in pieces] == [1, 1, 1, 1]


def test_more_parts_than_speakers_or_utterances_are_refused():
    with pytest.raises(BadDataError, match=r"3 speakers \(--per-utt splits within them\) can't be split into 4 parts"):
        select.split(DATA, 4)
    with pytest.raises(BadDataError, match="15 utterances can't be split into 16 parts"):
        select.split(DATA, 16, per_utterance=True)


def test_lists_are_the_first_fields_of_their_lines(tmp_path: Path):
    (tmp_path / "list").write_text("a-00\tx\n\n b-01 y z\r\n")
    assert select.read_list(tmp_path / "list") == ["a-00", "b-01"]
    (tmp_path / "list").write_text("\n")
    with pytest.raises(BadDataError, match="list: lists nothing"):
        select.read_list(tmp_path / "list")
    with pytest.raises(BadDataError, match="none: no list"):
        select.read_list(tmp_path / "none")


def test_parts_combined_are_the_whole_again(tmp_path: Path):
    whole = DataDir(DATA.utterances, {"a": "f", "c": "m"}, {"utt2lang": dict.fromkeys(ids(DATA), "en")})
    whole.write(tmp_path / "whole")
    for number, piece in enumerate(select.split(whole, 3)):
        piece.write(tmp_path / str(number))
    parts = [(tmp_path / str(n), DataDir.read(tmp_path / str(n))) for n in (2, 0, 1)]
    assert combine(parts) == (whole, [])


def test_tables_that_not_all_have_are_left_out_and_disagreement_is_refused():
    a = DataDir(DATA.utterances[:1], {"a": "f"}, {"utt2dur": {"a-00": "1"}, "spk2age": {"a": "30"}})
    b = DataDir(DATA.utterances[1:2], {"a": "f"}, {"spk2age": {"a": "30"}})
    joined, left_out = combine([(Path("A"), a), (Path("B"), b)])
    assert (joined.tables, joined.spk2gender, left_out) == ({"spk2age": {"a": "30"}}, {"a": "f"}, ["utt2dur"])
    with pytest.raises(BadDataError, match="utterance a-00 is in both A and B"):
        combine([(Path("A"), a), (Path("B"), a)])
    other = DataDir(b.utterances, {"a": "m"}, b.tables)
    with pytest.raises(BadDataError, match="spk2gender: speaker a is 'f' in A, 'm' in B"):
        combine([(Path("A"), a), (Path("B"), other)])
    same = [DataDir((Utterance(f"a-{n}", "a", f"{n}.wav", 0, 1, None, "rec"),)) for n in (1, 2)]
    with pytest.raises(BadDataError, match=r"recording rec is 1\.wav in A, 2\.wav in B"):
        combine([(Path("A"), same[0]), (Path("B"), same[1])])
