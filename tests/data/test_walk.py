"""One walk for all folders: what is taken, what is counted, what is named, and that it ends."""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path

import pytest

from audiovq.data.walk import walk
from audiovq.errors import BadCodesError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(root: Path) -> list[str]:
    return [os.fsdecode(os.path.relpath(os.fsencode(path), os.fsencode(root))) for path in walk(root, {".wav"}).files]


def test_takes_the_suffixes_asked_for_in_either_case_in_the_order_of_bytes(tmp_path):
    for name in ("b.wav", "a/z.WAV", "B.wav", "a.b/c.wav", "d.mp3", "folder.wav/inner.wav", b"caf\xe9.wav"):
        touch(tmp_path / os.fsdecode(name))
    assert names(tmp_path) == ["B.wav", "a.b/c.wav", "a/z.WAV", "b.wav", "caf\udce9.wav", "folder.wav/inner.wav"]


def test_hidden_and_temporary_names_are_skipped_without_a_word(tmp_path):
    for name in ("._talk.wav", ".talk.3fa4c0d1e2f3.wav", "__MACOSX/._talk.wav", ".git/x.wav", "talk.wav"):
        touch(tmp_path / name)
    tree = walk(tmp_path, {".wav"})
    assert [path.name for path in tree.files] == ["talk.wav"]
    assert (tree.others, tree.problems) == ("", [])


def test_files_of_other_kinds_are_counted_in_one_line(tmp_path, caplog):
    for name in ("a.wav", "b.m4a", "c.txt", "x/d.TXT", "README"):
        touch(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.wav")
    with caplog.at_level(logging.INFO, "audiovq"):
        walk(tmp_path, {".wav"})
    assert caplog.messages == [f"{tmp_path}: left out: 1 without a suffix, 1 .m4a, 2 .txt, 1 pipes and devices"]


def test_links_are_followed_and_loops_end(tmp_path):
    touch(tmp_path / "real" / "b.wav")
    root = tmp_path / "tree"
    touch(root / "a.wav")
    (root / "sub").symlink_to(tmp_path / "real")
    (root / "one.wav").symlink_to(root / "a.wav")
    (root / "deep").mkdir()
    (root / "deep" / "back").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    (tmp_path / "real" / "up").symlink_to(root)
    tree = walk(root, {".wav"})
    assert [str(path.relative_to(root)) for path in tree.files] == ["a.wav", "one.wav", "sub/b.wav"]
    assert len(tree.problems) == 1
    assert str(root / "self") in tree.problems[0]


def test_dead_links_and_unreadable_folders_are_named(tmp_path, monkeypatch):
    touch(tmp_path / "a.wav")
    (tmp_path / "gone.wav").symlink_to("/nowhere/gone.wav")
    (tmp_path / "gone").symlink_to("/nowhere")
    (tmp_path / "locked").mkdir()
    listdir = os.listdir

    def refuse(path):  # root may read any folder, so the system's word is played
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    tree = walk(tmp_path, {".wav"})
    assert [path.name for path in tree.files] == ["a.wav"]
    assert len(tree.problems) == 3
    for name, problem in zip(("gone", "gone.wav", "locked"), tree.problems, strict=True):
        assert problem.startswith(f"{tmp_path / name}: ")
    with pytest.raises(BadCodesError, match=r"gone: a link that leads nowhere.*\(and 2 more\)"):
        tree.checked(BadCodesError)


def test_any_tree_of_folders_and_links_ends_and_every_plain_file_is_found(tmp_path):
    draw = random.Random(3)
    for round_number in range(20):
        root = tmp_path / str(round_number)
        folders, plain = [root], []
        root.mkdir()
        for number in range(30):
            place = draw.choice(folders) / f"{number}{draw.choice(('', '.wav', '.txt'))}"
            kind = draw.choice(("folder", "file", "link", "dead"))
            if kind == "folder":
                place.mkdir()
                folders.append(place)
            elif kind == "file":
                place.touch()
                plain.append(place)
            else:
                place.symlink_to(draw.choice(folders) if kind == "link" and number % 5 == 0 else tmp_path / "nowhere")
        tree = walk(root, {".wav"})
        assert {path for path in plain if path.suffix == ".wav"} <= set(tree.files)
        assert tree.files == sorted(set(tree.files), key=os.fsencode)
