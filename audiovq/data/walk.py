"""The one walk through a folder of files: of sound, images and codes, for commands, priors and recipes.

Hidden files and folders are skipped, as what a Mac leaves beside each file and what an interrupted run leaves are such.
Links are followed, and one that leads back into a folder above it ends there.
"""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audiovq.errors import AudioVQError, BadDataError

# What libsndfile reads, of which files in a tree are taken by their names. A single file may have any name.
AUDIO_SUFFIXES = (
    *(".aif", ".aifc", ".aiff", ".au", ".avr", ".bwf", ".caf", ".flac", ".htk", ".mp1", ".mp2", ".mp3", ".nist"),
    *(".oga", ".ogg", ".opus", ".rf64", ".sf", ".snd", ".sph", ".voc", ".w64", ".wav", ".wave", ".wv1", ".wv2"),
)

_log = logging.getLogger(__name__)


@dataclass
class Tree:
    """What a folder holds.

    Attributes:
        files: those of the kinds asked for, sorted by their bytes.
        left_out: how many others, by suffix.
        problems: a line for each link that leads nowhere, folder that can't be read, and name that can't be looked up.
    """

    root: Path
    files: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def others(self) -> str:
        """For a message: "1 .m4a, 2 .txt"."""
        return ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in sorted(self.left_out.items()))

    def checked(self, error: type[AudioVQError] = BadDataError) -> list[Path]:
        """The files; raises `error` if there is a problem, which names the first and how many there are."""
        if self.problems:
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            raise error(f"{self.problems[0]}{more}")
        return self.files


def walk(root: str | Path, suffixes: Collection[str]) -> Tree:
    """Every file below `root` with one of `suffixes` (lower case; those of names may be either).

    How many files of other kinds there are is logged, in one line.
    """
    tree = Tree(Path(root))
    for path, status in _files(tree, tree.root, ()):
        suffix = path.suffix.lower()
        if not stat.S_ISREG(status.st_mode):
            tree.left_out["pipes and devices"] += 1
        elif suffix in suffixes:
            tree.files.append(path)
        else:
            tree.left_out[suffix] += 1
    tree.files.sort(key=os.fsencode)
    if tree.left_out:
        _log.info("%s: left out: %s", root, tree.others)
    return tree


def _files(tree: Tree, folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[Path, os.stat_result]]:
    """Whatever is below `folder` and no folder; `above` are the folders that lead to it."""
    try:
        status = folder.stat()
        own = (status.st_dev, status.st_ino)
        if own in above:
            return
        names = sorted(os.listdir(folder), key=os.fsencode)
    except OSError as error:
        tree.problems.append(f"{folder}: can't be read ({error.strerror}); make it readable or move it away")
        return
    for name in names:
        if name.startswith("."):
            continue
        path = folder / name
        try:
            status = path.stat()
        except OSError as error:
            what = "a link that leads nowhere" if path.is_symlink() else f"can't be read ({error.strerror})"
            tree.problems.append(f"{path}: {what}; mend or remove it")
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _files(tree, path, (*above, own))
        else:
            yield path, status
