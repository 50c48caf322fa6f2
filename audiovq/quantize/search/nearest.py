"""Two functions under every quantizer: `nearest` finds each vector's code, `code_stats` sums what each code received.

Equations 1 and 2 of arXiv 1711.00937, without an N x K table: scores live in one small tile that stays in cache.
"""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

logger = logging.getLogger(__name__)

# Scores in a tile, and how many codes wide it is at most.
_CPU_TILE = (2**18, 1024)  # 1 MB of float32 fits a core's L2 cache
_CENTRED = 2**14  # elements of x that are centred in one call: 64 kB; small calls cost
_BEHIND = 16  # columns of a table behind the codes: 64 bytes
_COMPILED = 2**28  # multiplications from which on the compiled search is taken: loading it takes a second, once
_DEVICE_TILE = (2**25, 4096)  # 128 MB: large enough to fill a GPU, small against the features themselves


def nearest(x: Tensor, codebook: Tensor) -> Tensor:
    """Index of the codebook vector with the least Euclidean distance to each row of `x`.

    Args:
        x: vectors [N, D], any floating type; computed in float32 whatever autocast says.
        codebook: [K, D].

    Returns:
        codes [N] int64 in 0..K-1. The lowest index wins a tie. A row with NaN gets some valid index and harms no other.

    Two calls that hold the same row in batches of different size may round its scores differently in the last bit, so
    a row that lies midway between two codes to within 1e-6 can be given to either.
    """
    if x.ndim != 2 or codebook.ndim != 2 or x.shape[1] != codebook.shape[1]:
        raise ValueError(f"nearest: x is {list(x.shape)}, codebook is {list(codebook.shape)}; need [N, D] and [K, D]")
    return search(x, search_table(codebook))


def code_stats(codes: Tensor, x: Tensor, codebook_size: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """How many rows each code received and their sum: n_i and sum_j z_ij of appendix A.1.

    Args:
        codes: [N] int64; -1 marks a row without a code.
        x: [N, D] float32.
        codebook_size: K.
        mask: [N] bool, True = counts; None = all.

    Returns:
        counts [K] and sums [K, D], float32. Rows that are masked, have no code, or hold NaN or infinity are left out.
    """
    keep = valid_rows(x, mask) & (codes >= 0)
    # Rows left out land in one extra bin that is cut off: no N x D copy, and NaN never meets another row.
    bins = torch.where(keep, codes, codebook_size)
    counts = x.new_zeros(codebook_size + 1).index_add_(0, bins, x.new_ones(x.shape[0]))
    sums = x.new_zeros(codebook_size + 1, x.shape[1]).index_add_(0, bins, x)
    return counts[:codebook_size], sums[:codebook_size]


def valid_rows(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Which rows of x [N, D] are finite and not masked: [N] bool. (A row's sum is finite only if all of it is.)"""
    finite = x.sum(dim=1).isfinite()
    return finite if mask is None else finite & mask


def search_table(codebook: Tensor) -> Tensor:
    """What `search` needs of a codebook [K, D]: float32 [D + 1, K + 16], to be kept for as long as the codebook stays.

    Column k holds the code without the codebook's mean, then its half squared norm, negative; column K the mean. The
    other columns keep the rows aligned.
    """
    return torch.ops.audiovq.search_table(codebook.detach())


def direction_table(codebook: Tensor) -> Tensor:
    """The same for a search by angle: `search` then gives the code with the greatest cosine to each row."""
    return F.pad(F.normalize(codebook.detach().float(), dim=1).t(), (0, _BEHIND, 0, 1))


def search(x: Tensor, table: Tensor) -> Tensor:
    """`nearest` with the table of the codebook in place of the codebook."""
    return torch.ops.audiovq.search(x.detach(), table)


class TableCache:
    """Keeps the table of a small codebook between calls, for streams that bring a vector at a time.

    The codebook is compared with the one that the table was made of: version counters miss writes through `.data`,
    as weight averaging makes them, and comparing costs little beside a search. Large codebooks, whose searches are
    long beside making the table, are not kept.
    """

    LARGEST = 2**17  # elements

    def __init__(self, build: Callable[[Tensor], Tensor]) -> None:
        self.build = build
        self._kept: tuple[Tensor, Tensor] | None = None

    def get(self, codebook: Tensor, *, keep: bool) -> Tensor:
        """The table of `codebook` [K, D], kept for the next call if `keep`."""
        if torch.compiler.is_compiling():
            return self.build(codebook)
        if not keep or codebook.numel() > self.LARGEST:
            self._kept = None
            return self.build(codebook)
        source, table = self._kept or (None, None)
        if source is None or table is None or not _same(source, codebook):
            source = codebook.detach().clone()
            table = self.build(source)
            self._kept = source, table
        return table


def _same(a: Tensor, b: Tensor) -> bool:
    if a.device.type == b.device.type == "cpu" and a.shape == b.shape:  # numpy compares four times faster
        return bool((a.numpy() == b.detach().numpy()).all())
    return a.device == b.device and torch.equal(a, b)


def _search_table(codebook: Tensor) -> Tensor:
    # argmin |x - c|^2 = argmax x.c - |c|^2 / 2. Both sides lose the codebook's mean first: distances don't change, but
    # data far from the origin would otherwise drown its differences in rounding. The half norm stands in a column of
    # its own, which meets a column of ones: one product then gives the scores, and no pass over them adds a bias.
    k, dim = codebook.shape
    table = codebook.new_zeros(dim + 1, k + _BEHIND, dtype=torch.float32)
    mean = codebook.mean(dim=0, dtype=torch.float32)
    table[:dim, k] = mean
    for first in range(0, k, 256):  # by parts: differences and squares of all of a large codebook take memory
        last = min(first + 256, k)
        centred = codebook[first:last] - mean
        table[:dim, first:last] = centred.t()
        table[dim, first:last] = centred.square().sum(dim=1) / -2
    return table


def _search(x: Tensor, table: Tensor) -> Tensor:
    on_cpu = x.device.type == "cpu"
    if on_cpu and x.shape[0] * table.shape[1] <= _CPU_TILE[0] // 16:
        return _search_few(x, table)
    if on_cpu and x.shape[0] * table.numel() >= _COMPILED:
        kernel, k = _kernel(), table.shape[1] - _BEHIND
        if kernel is not None and k >= kernel.PANEL:
            found = kernel.search(x.float().numpy(), table.numpy(), k, torch.get_num_threads())
            return torch.from_numpy(found)
    with _no_autocast(x.device), _full_float32(x.device):
        return _search_cpu(x, table) if on_cpu else _search_device(x, table)


def _search_few(x: Tensor, table: Tensor) -> Tensor:
    """All in numpy, whose calls cost least: for a stream that brings a vector at a time."""
    columns = table.numpy()
    k = columns.shape[1] - _BEHIND
    scores = (x.float().numpy() - columns[:-1, k]) @ columns[:-1, :k]
    scores += columns[-1, :k]
    return torch.from_numpy(scores.argmax(1))


@functools.cache
def _kernel() -> Any:
    """The module `search_kernel`, or None where its loops can't be compiled: `_search_cpu` stands in for them."""
    try:
        from audiovq.quantize.search import kernel as search_kernel

        # The search of one row compiles the loops, or loads them from disk.
        empty = np.zeros((2, search_kernel.PANEL + _BEHIND), np.float32)
        search_kernel.search(empty[:1, :1], empty, search_kernel.PANEL, 1)
    except Exception as error:  # whatever numba or LLVM say of a processor or version they don't suit
        logger.info("large searches take longer: their loops do not compile (%s: %s)", type(error).__name__, error)
        return None
    return search_kernel


def _search_cpu(x: Tensor, table: Tensor) -> Tensor:
    """By tiles: torch multiplies, numpy takes the argmax of the same memory (ten times faster than torch's)."""
    count, dim = x.shape
    k = table.shape[1] - _BEHIND
    mean = table[:dim, k].contiguous()
    rows, width = _tile(count, k, _CPU_TILE)
    parts = table[:, :k].split(width, dim=1)
    chunk = max(rows, _CENTRED // (dim + 1) // rows * rows)
    codes = torch.empty(count, dtype=torch.int64)
    found = codes.numpy()
    with_one = torch.ones(min(chunk, count), dim + 16 - dim % 16, dtype=table.dtype)[:, : dim + 1]  # aligned rows
    scores = torch.empty(rows, width, dtype=table.dtype)
    blocks: Sequence[Tensor] = ()
    for start in range(0, count, chunk):
        n = min(chunk, count - start)
        torch.sub(x[start : start + n], mean, out=with_one[:n, :dim])
        if n < chunk or not blocks:
            blocks = with_one[:n].split(rows)
        at = start
        for block in blocks:
            stop = at + block.shape[0]
            if len(parts) == 1 and stop - at == rows:  # the shortest way: for small D the calls themselves count
                torch.mm(block, parts[0], out=scores).numpy().argmax(1, found[at:stop])
            else:
                _best_of_rows(block, parts, scores.flatten(), found[at:stop])
            at = stop
    return codes


def _best_of_rows(x: Tensor, parts: Sequence[Tensor], scores: Tensor, best: NDArray[np.int64]) -> None:
    """Rows x [n, D + 1] against the codebook's parts, each [D + 1, <= width] -> best [n]; scores is room for a tile."""
    n = x.shape[0]
    best_score = np.full(n, -np.inf, dtype=np.float32)
    best[:] = first = 0
    for part in parts:
        width = part.shape[1]
        # a contiguous view, so that numpy doesn't copy it; a row of the tile holds the scores of one vector
        tile = torch.mm(x, part, out=scores[: n * width].view(n, width)).numpy()
        index = tile.argmax(1)
        score = tile[np.arange(n), index]
        better = score > best_score  # strictly, so that the lowest index wins a tie
        np.copyto(best, index + first, where=better)
        np.copyto(best_score, score, where=better)
        first += width


def _search_device(x: Tensor, table: Tensor) -> Tensor:
    """The plain definition of the tiled search, for every device but the CPU."""
    dim = x.shape[1]
    k = table.shape[1] - _BEHIND
    codes_at, bias, mean = table[:dim, :k], table[dim, :k], table[:dim, k]
    rows, width = _tile(x.shape[0], k, _DEVICE_TILE)
    codes = torch.empty(x.shape[0], dtype=torch.int64, device=x.device)
    for start in range(0, x.shape[0], rows):
        block = x[start : start + rows] - mean
        best_score, best = torch.addmm(bias[:width], block, codes_at[:, :width]).max(dim=1)
        for first in range(width, k, width):
            last = first + width
            score, index = torch.addmm(bias[first:last], block, codes_at[:, first:last]).max(dim=1)
            better = score > best_score
            best = torch.where(better, index + first, best)
            best_score = torch.where(better, score, best_score)
        codes[start : start + rows] = best
    return codes


def _fake_search_table(codebook: Tensor) -> Tensor:
    return codebook.new_empty(codebook.shape[1] + 1, codebook.shape[0] + _BEHIND, dtype=torch.float32)


def _fake_search(x: Tensor, table: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], dtype=torch.int64)


def _register(name: str, signature: str, implementation: Callable[..., Tensor], fake: Callable[..., Tensor]) -> None:
    """An operator of our own, so that torch.export and torch.compile take it as one node.

    The decorator torch.library.custom_op would do the same, but its first call imports the compiler: seconds before
    any output.
    """
    torch.library.define(name, signature, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(name, "default", implementation)
    torch.library.register_fake(name, fake)


_register("audiovq::search_table", "(Tensor codebook) -> Tensor", _search_table, _fake_search_table)
_register("audiovq::search", "(Tensor x, Tensor table) -> Tensor", _search, _fake_search)


def _tile(n: int, k: int, largest: tuple[int, int]) -> tuple[int, int]:
    """Rows and codes of a tile; codes are shared out evenly, so that no tile is a sliver with other rounding."""
    area, widest = largest
    width = -(-k // -(-k // widest))
    return max(1, min(n, area // width)), width


def _no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()


def _full_float32(device: torch.device) -> AbstractContextManager[Any]:
    """Turn off TF32 and bfloat16 inside float32 products: they change about one index in a hundred."""
    matmul: Any = getattr(torch.backends.mkldnn if device.type == "cpu" else torch.backends.cuda, "matmul", None)
    if hasattr(matmul, "fp32_precision"):  # torch >= 2.9: the older call raises once somebody has used this one
        before = matmul.fp32_precision
        if before in ("ieee", "none"):
            return nullcontext()
        return _set_and_restore(lambda precision: setattr(matmul, "fp32_precision", precision), "ieee", before)
    before = torch.get_float32_matmul_precision()
    if before == "highest":
        return nullcontext()
    return _set_and_restore(torch.set_float32_matmul_precision, "highest", before)


@contextmanager
def _set_and_restore(choose: Callable[[str], None], wanted: str, before: str) -> Iterator[None]:
    choose(wanted)
    try:
        yield
    finally:
        choose(before)
