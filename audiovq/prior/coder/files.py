"""Coders as files of a model folder, `coder.tables.safetensors` and `coder.learned.safetensors`, read and written.

The metadata say which codes a coder was fitted on. Files may come from strangers: their size is checked before anything
is read, and tensors that no coder has are refused.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load, save

from audiovq.bitstream.coder import Coding
from audiovq.bitstream.header import Header
from audiovq.data.files import atomic_output
from audiovq.errors import BadModelError
from audiovq.prior.coder.base import IntegerCoder
from audiovq.prior.coder.learned import LearnedCoder
from audiovq.prior.coder.tables import TableCoder

FORMAT = "audiovq-coder-1"
MAX_BYTES = 2**22  # ten times what a coder of four levels has
KINDS: dict[Coding, type[TableCoder] | type[LearnedCoder]] = {
    Coding.TABLES: TableCoder,
    Coding.LEARNED: LearnedCoder,
}


def coder_file(folder: str | Path, coding: Coding) -> Path:
    """Where a model folder has the coder of a kind."""
    return Path(folder) / f"coder.{coding.name.lower()}.safetensors"


def load_coders(folder: str | Path) -> dict[Coding, IntegerCoder]:
    """The coders of a model folder, none if it has none; BadModelError for a damaged one."""
    files = {coding: coder_file(folder, coding) for coding in KINDS}
    return {coding: load_coder(file) for coding, file in files.items() if file.exists()}


def coder_at_hand(header: Header) -> IntegerCoder | None:
    """The coder of a `.codes` file, if the bundled model that it names has it; for `CodesReader`."""
    from audiovq.modelfolder import bundled_models  # needs torch, which coders do not

    folder = bundled_models().get(header.model)
    file = folder and coder_file(folder, header.coding)
    return load_coder(file) if file and file.exists() else None


def load_coder(file: str | Path) -> IntegerCoder:
    """One coder; BadModelError if the file is missing or holds none."""
    metadata, tensors = _read(Path(file))
    coding = {coding.name.lower(): coding for coding in KINDS}.get(metadata["kind"])
    if coding is None:
        raise BadModelError(f"{file}: a coder of kind {metadata['kind']!r}; this version knows tables and learned")
    try:
        return KINDS[coding](tensors)
    except ValueError as error:
        raise BadModelError(f"{file}: {error}; fetch the model again") from None


def read_metadata(file: str | Path) -> dict[str, str]:
    """What the file says of itself: `kind`, `model` and `codes` (fingerprint) of the codes, and how it was fitted."""
    return _read(Path(file))[0]


def save_coder(coder: IntegerCoder, file: str | Path, metadata: dict[str, str], *, force: bool = False) -> None:
    """Write a coder; OutputError as of `atomic_output`."""
    facts = metadata | {"format": FORMAT, "kind": coder.coding.name.lower()}
    data = save(coder.tensors, facts)
    if len(data) > MAX_BYTES:
        raise BadModelError(f"{file}: the coder would have {len(data)} bytes, at most {MAX_BYTES} are read again")
    with atomic_output(file, force=force) as temporary:
        temporary.write_bytes(data)


def _read(file: Path) -> tuple[dict[str, str], dict[str, Any]]:
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe would wait, a device never end
            raise BadModelError(f"{file}: is not a regular file; fetch the model again")
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadModelError(f"{file}: can't be read ({error.strerror}); fetch the model again") from None
    if len(data) > MAX_BYTES:
        raise BadModelError(f"{file}: has over {MAX_BYTES} bytes; it is no coder's")
    try:
        tensors = load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    except (ValueError, KeyError, SafetensorError) as error:
        raise BadModelError(f"{file}: damaged ({error}); fetch the model again") from None
    if metadata.get("format") != FORMAT or "kind" not in metadata:
        raise BadModelError(f"{file}: not a coder of this version ({FORMAT}); fetch the model again")
    return metadata, tensors
