"""Codes in Kaldi's archives: integer matrices `[F, Q]` (time first, as in all of Kaldi's), one channel per utterance.

An archive has no room for what a decoder must know, so `codes.ark.json` is written beside `codes.ark`: the model, and
for each utterance the rate and number of samples. scp files point to archives, so they can be cut up and joined freely.
docs/data.md describes the format.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiovq.bitstream.media import PACKET_SECONDS, AudioHeader, audio_packet_frames
from audiovq.data.files import atomic_output
from audiovq.data.kaldi.archives import (
    ArchiveWriter,
    Specifier,
    archive_place,
    open_archive,
    read_archive,
    read_scp,
    read_value,
)
from audiovq.data.kaldi.streams import is_stream
from audiovq.errors import BadAudioError, BadCodesError, BadDataError

FORMAT, VERSION = "audiovq-codes-archive", 1
_COMMON = ("model", "model_sample_rate", "hop_length")  # of the header, the same for a whole archive
_OWN = ("sample_rate", "num_samples", "gain_db", "speaker")  # of each utterance


class CodesArchiveWriter:
    """Writes codes of one model as an archive, with its JSON file and, if asked for, an scp file.

    They appear together at the end. Standard output, and a command, take the archive alone.
    """

    def __init__(self, specifier: Specifier, *, force: bool = False):
        self._archive = ArchiveWriter(specifier, force=force)
        self._force = force
        self._facts: dict[str, Any] = {}
        self._utterances: dict[str, dict[str, Any]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> CodesArchiveWriter:
        ark = self._archive.specifier.ark
        with ExitStack() as stack:
            stack.enter_context(self._archive)
            beside = None if ark is None or is_stream(ark) else atomic_output(f"{ark}.json", force=self._force)
            self._json = stack.enter_context(beside) if beside else None
            self._stack = stack.pop_all()
        return self

    def write(self, utterance: str, header: AudioHeader, codes: NDArray[np.int64]) -> int:
        """Append codes `[1, Q, F]`; returns their bytes. Raises BadAudioError for more than one channel."""
        if header.channels != 1:
            raise BadAudioError(
                f"{utterance}: {header.channels} channels, an archive holds one; mix it down in wav.scp, as with"
                " 'sox IN.wav -c 1 -t wav - |'"
            )
        facts = {name: getattr(header, name) for name in _COMMON}
        facts |= {"fingerprint": header.fingerprint.hex(), "codebook_sizes": list(header.codebook_sizes)}
        if self._facts and facts != self._facts:
            raise BadCodesError(f"{utterance}: another model or number of levels than the rest of the archive")
        self._facts = facts
        own = {name: getattr(header, name) for name in _OWN}
        matrix = np.ascontiguousarray(codes[0].T, np.int32)
        self._archive.write(utterance, matrix)
        self._utterances[utterance] = {name: value for name, value in own.items() if value is not None}
        return matrix.nbytes

    def __exit__(self, *exception: Any) -> None:
        if self._json is not None and exception[0] is None:
            content = {"format": FORMAT, "version": VERSION, **self._facts, "utterances": self._utterances}
            self._json.write_text(json.dumps(content, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
        self._stack.__exit__(*exception)


class ArchivedCodes(NamedTuple):
    """An utterance of an archive.

    Attributes:
        name: its id.
        archive: the file that holds it, `-` for standard input.
        place: archive and id, for messages.
        header: from the JSON file; None for an archive without.
        codes: int64 `[1, Q, F]`, checked against the header.
    """

    name: str
    archive: str
    place: str
    header: AudioHeader | None
    codes: NDArray[np.int64]


def read_codes_archive(specifier: Specifier) -> Iterator[ArchivedCodes]:
    """Utterances and their codes, in the order of the archive or the scp file.

    Raises:
        BadDataError: no archive or scp file, or a damaged one.
        BadCodesError: not codes, or not those that the JSON file tells of, or a JSON file of another version.
    """
    known: dict[str, dict[str, Any] | None] = {}
    seen: set[str] = set()
    for key, ark, value in _values(specifier):
        place = f"{ark}: {key}"
        codes = _as_codes(value, place)
        if ark not in known:
            known[ark] = None if is_stream(ark) else _read_json(ark)
        facts, header = known[ark], None
        if facts is not None:
            header = _header(facts, key, f"{ark}.json")
            check_archived(codes, header, place)
        seen.add(key)
        yield ArchivedCodes(key, ark, place, header, codes)
    facts = known.get(specifier.ark or "")  # a whole archive, not the places that an scp file chooses
    missing = [] if facts is None else [key for key in facts["utterances"] if key not in seen]
    if missing:
        what = f"ends after {len(seen)} of {len(seen) + len(missing)} utterances"
        raise BadCodesError(f"{specifier.ark}: {what}, {missing[0]} is the first that lacks; make the archive again")


def _values(specifier: Specifier) -> Iterator[tuple[str, str, Any]]:
    """(utterance, archive, value) of every entry."""
    if specifier.scp is None:
        assert specifier.ark is not None
        for key, value in read_archive(specifier.ark):
            yield key, specifier.ark, value
        return
    for key, row in read_scp(specifier.scp).rows.items():
        place = archive_place(row.value)
        if place is None:
            raise BadDataError(f"{specifier.scp}:{row.line}: '{row.value}' is no place in an archive (codes.ark:12)")
        ark, offset = place
        try:
            with open_archive(ark) as file:
                file.seek(offset)
                value = read_value(file, f"{specifier.scp}:{row.line}: {key}")
        except BadDataError as error:
            if not specifier.permissive:
                raise
            warnings.warn(f"{error}; left out", stacklevel=2)
            continue
        yield key, ark, value


def _as_codes(value: Any, name: str) -> NDArray[np.int64]:
    """A matrix `[F, Q]` or vector `[F]` as `[1, Q, F]`; floats, as other tools write them, may hold integers too."""
    if not isinstance(value, np.ndarray) or value.ndim not in (1, 2) or value.dtype.kind not in "iuf":
        raise BadCodesError(f"{name}: no matrix of codes [frames, levels]; it holds something else")
    codes = np.rint(value).astype(np.int64)
    if not np.array_equal(codes, value):
        raise BadCodesError(f"{name}: its numbers are no integers, so they are no codes")
    return np.ascontiguousarray(np.atleast_2d(codes.T))[None]


def _read_json(ark: str) -> dict[str, Any] | None:
    path = Path(f"{ark}.json")
    try:
        facts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadCodesError(f"{path}: can't be read ({error}); make the archive again") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT or facts.get("version") != VERSION:
        raise BadCodesError(f"{path}: not version {VERSION} of {FORMAT}; make the archive again")
    return facts


def _header(facts: dict[str, Any], key: str, path: str) -> AudioHeader:
    try:
        own = facts["utterances"][key]
    except (KeyError, TypeError):
        raise BadCodesError(f"{path}: does not know utterance {key}; it belongs to another archive") from None
    try:
        common = {name: facts[name] for name in _COMMON} | {
            "codebook_sizes": tuple(facts["codebook_sizes"]),
            "channels": 1,
        }
        spacing = {name: value for name, value in common.items() if name != "model"}
        return AudioHeader(
            fingerprint=bytes.fromhex(facts["fingerprint"]),
            frames_per_packet=audio_packet_frames(PACKET_SECONDS, **spacing),
            **common,
            **{name: own[name] for name in _OWN if name in own or name in ("sample_rate", "num_samples")},
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, BadCodesError) as error:
        raise BadCodesError(f"{path}: can't be understood ({error}); make the archive again") from None


def check_archived(codes: NDArray[np.int64], header: AudioHeader, name: str) -> None:
    """BadCodesError unless codes `[1, Q, F]` are of the shape and range that a header says."""
    _, levels, frames = codes.shape
    if header.num_samples is None or (levels, frames) != (header.num_quantizers, header.num_frames):
        wanted = f"{header.num_frames} frames of {header.num_quantizers} levels"
        raise BadCodesError(f"{name}: {frames} frames of {levels} levels, but its sound has {wanted}; make it again")
    for level, size in enumerate(header.codebook_sizes):
        if frames and not 0 <= codes[0, level].min() <= codes[0, level].max() < size:
            raise BadCodesError(f"{name}: level {level} holds codes outside 0 to {size - 1}; make the archive again")
