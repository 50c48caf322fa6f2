"""Reads codes of many recordings or images for a prior: `.codes` files, folders, `.npy` arrays, Kaldi scp and ark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiovq.bitstream.archive import read_codes_archive
from audiovq.bitstream.header import Header
from audiovq.bitstream.media import AudioHeader, ImageHeader
from audiovq.bitstream.reader import CodesReader
from audiovq.data.arrays import open_arrays
from audiovq.data.kaldi.archives import Specifier
from audiovq.data.walk import walk
from audiovq.errors import BadCodesError, ConfigError
from audiovq.prior import CodeItem, CodeSpec, check_same_codes
from audiovq.prior.base import check_codes
from audiovq.prior.coder import coder_at_hand

SUFFIXES = (".codes", ".npy")


@dataclass(frozen=True)
class Collection:
    """Items of one kind, and what they have in common."""

    spec: CodeSpec
    items: list[CodeItem]


def read_collection(
    sources: Sequence[str],
    *,
    spec: CodeSpec | None = None,
    num_quantizers: int | None = None,
    labels: Mapping[str, str] | None = None,
    allow_mismatch: bool = False,
) -> Collection:
    """Read all codes that `sources` stand for.

    Args:
        sources: `.codes` files (each channel of a recording becomes an item, an image a grid); `.npy` files: integers
            `[F]`, `[Q, F]`, or for grids `[H, W]`, `[N, H, W]`, `[N, Q, H, W]`; folders of both; `scp:FILE`, `ark:FILE`
            of Kaldi matrices `[F, Q]` or vectors `[F]`.
        spec: what the codes are, needed where no `.codes` file says it; others must agree with it.
        num_quantizers: keep only the first levels.
        labels: speaker or class by the item's name; by default the speaker that a `.codes` header names, or the JSON
            file beside an archive.
        allow_mismatch: codes of several codecs, if their shapes agree.

    Raises:
        BadCodesError: nothing there, or a file that can't be read or doesn't fit.
        ModelMismatchError: codes of several codecs.
        BadDataError: an archive that can't be read, or kaldiio is missing.
        ConfigError: arrays without a `spec`, or an item without a label.
    """
    common = None if spec is None else _first_levels(spec, num_quantizers, "the codes asked for")
    items: list[CodeItem] = []
    for source, name, codes, found, label in _all_codes(sources, spec):
        found = _first_levels(found, num_quantizers, source)
        common = common or found
        check_same_codes(common, found, source, allow_mismatch=allow_mismatch)
        if labels is not None:
            label = labels.get(name, labels.get(Path(name).name))
            if label is None:
                raise ConfigError(f"{source}: no label is given for {name}; add a line for it")
        codes = codes[:num_quantizers]
        try:
            check_codes(common, codes)
        except BadCodesError as error:
            raise BadCodesError(f"{source}: {error}") from None
        items.append(CodeItem(name, codes.astype(np.int64), label))
    if common is None or not items:
        raise BadCodesError(f"{', '.join(sources)}: no codes there; check the path")
    return Collection(common, items)


def _first_levels(spec: CodeSpec, num_quantizers: int | None, source: str) -> CodeSpec:
    if num_quantizers is None:
        return spec
    if spec.num_quantizers < num_quantizers:
        raise BadCodesError(f"{source}: {spec.num_quantizers} levels, {num_quantizers} are wanted; encode with as many")
    return spec.model_copy(update={"codebook_sizes": spec.codebook_sizes[:num_quantizers]})


Found = tuple[str, str, np.ndarray, CodeSpec, str | None]  # source, name, codes, spec, label


def _all_codes(sources: Sequence[str], spec: CodeSpec | None) -> Iterator[Found]:
    for source in sources:
        kind = Path(source).suffix[1:]
        specifier = Specifier.parse(f"{kind}:{source}" if kind in ("scp", "ark") and Path(source).is_file() else source)
        if specifier is not None:
            yield from _kaldi(source, specifier, spec)
            continue
        path = Path(source)
        files = walk(path, SUFFIXES).checked(BadCodesError) if path.is_dir() else [path]
        for file in files:
            name = str((file.relative_to(path) if path.is_dir() else Path(file.name)).with_suffix(""))
            if file.suffix == ".npy":
                yield from _array(file, name, _given(spec, str(file)))
            else:
                yield from _codes_file(file, name)


def _codes_file(file: Path, name: str) -> Iterator[Found]:
    with CodesReader(file, coder_at_hand) as reader:
        header, codes = reader.header, reader.read()
    spec = spec_of(header)
    if isinstance(header, ImageHeader):
        yield str(file), name, codes.reshape(-1, *header.grid), spec, None
        return
    speaker = header.speaker if isinstance(header, AudioHeader) else None
    for channel, own in enumerate(codes):
        yield str(file), name if len(codes) == 1 else f"{name}#{channel}", own, spec, speaker


def spec_of(header: Header) -> CodeSpec:
    """What a header says of its codes."""
    return CodeSpec(
        codebook_sizes=list(header.codebook_sizes),
        layout="sequence" if isinstance(header, AudioHeader) else "grid",
        frame_rate=header.frame_rate if isinstance(header, AudioHeader) else None,
        model=header.model,
        fingerprint=header.fingerprint.hex(),
    )


def _array(file: Path, name: str, spec: CodeSpec) -> Iterator[Found]:
    with open_arrays(file, BadCodesError) as codes:
        if not isinstance(codes, np.ndarray) or codes.dtype.kind not in "iu":
            raise BadCodesError(f"{file}: holds no array of integers, so no codes")
    if spec.layout == "sequence":
        yield str(file), name, np.atleast_2d(codes), spec, None
    elif codes.ndim == 2:
        yield str(file), name, codes[None], spec, None
    elif codes.ndim in (3, 4):
        for i, grid in enumerate(codes):
            yield str(file), array_item(name, i), grid[None] if grid.ndim == 2 else grid, spec, None
    else:
        raise BadCodesError(f"{file}: shape {list(codes.shape)}; give grids [H, W], [N, H, W] or [N, Q, H, W]")


def array_item(name: str, index: int) -> str:
    """What an item of an array of grids is called, by which labels find it; `name` is the file's without .npy."""
    return f"{name}#{index}"


def _kaldi(source: str, specifier: Specifier, spec: CodeSpec | None) -> Iterator[Found]:
    for name, _, place, header, codes in read_codes_archive(specifier):
        own = _given(spec, source) if header is None else spec_of(header)
        yield place, name, codes[0], own, None if header is None else header.speaker


def _given(spec: CodeSpec | None, source: str) -> CodeSpec:
    if spec is None:
        raise ConfigError(f"{source}: does not say what its codes are; give --codec, or --codebook-sizes")
    return spec
