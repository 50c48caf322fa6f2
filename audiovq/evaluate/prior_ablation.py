"""What a learned prior is worth: every prior on the same codes, and the same network on codes of another origin.

The controls answer a question that the paper leaves open (arXiv 1711.00937, section 3.3: is the prior trained on codes
of the encoder, or on codes drawn from the prior?): trained on codes drawn from the uniform prior a network can only
learn log2 K bits, on codes from the unigram prior only the unigram's entropy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from audiovq.evaluate.table import markdown
from audiovq.prior import COUNTED, CodeItem, CodeSpec, NGramPrior, Prior, PriorConfig, score_items, total

CODED_CODES = 1000  # so many held-out codes go through the arithmetic coder and back
CONTROLS = ("uniform", "unigram")

Fit = Callable[[str, CodeSpec, Sequence[CodeItem], Sequence[CodeItem], int], Prior]
Coder = tuple[Callable[[Prior, Any], bytes], Callable[[Prior, bytes, Sequence[int]], Any]]


@dataclass(frozen=True)
class CodeSet:
    """Codes of one codec, in three parts that share no item.

    Attributes:
        name: in the table.
        spec: of the codes.
        train: what priors are fitted on; valid: by which a network's best step is chosen; test: what is reported.
        reconstruction: -log2 p(x | codes) in bits per second of the codec's decoder; None where it has no likelihood.
    """

    name: str
    spec: CodeSpec
    train: Sequence[CodeItem]
    valid: Sequence[CodeItem]
    test: Sequence[CodeItem]
    reconstruction: float | None = None


@dataclass(frozen=True)
class Row:
    """One prior on one set, with one seed.

    Attributes:
        code_set, prior, seed: which. `prior` is a kind, or "KIND on uniform codes" and "... unigram codes".
        bits_per_code: on the test part; bits_per_second: None where the frame rate is not known.
        uniform_bits_per_code: the mean of log2 K.
        reconstruction: see CodeSet.
        coded_ratio: arithmetic-coded bits by the prior's bits, on some test codes; None without a coder.
        decoded: whether those came back.
        num_parameters: weights or counts; seconds: CPU time of fitting, in this process.
    """

    code_set: str
    prior: str
    seed: int
    bits_per_code: float
    bits_per_second: float | None
    uniform_bits_per_code: float
    reconstruction: float | None
    coded_ratio: float | None
    decoded: bool | None
    num_parameters: int
    seconds: float

    @property
    def elbo(self) -> float | None:
        """Bits per second of codes and sound together (minus the bound); None without a likelihood."""
        return None if self.reconstruction is None or self.bits_per_second is None else (
            self.reconstruction + self.bits_per_second
        )  # fmt: skip


def ablate(
    code_set: CodeSet,
    kinds: Sequence[str],
    control: str | None,
    seeds: Sequence[int],
    fit: Fit,
    coder: Coder | None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Fit and measure every kind, the networks once a seed.

    Args:
        code_set: what on.
        kinds: of `audiovq.prior.KINDS`, those that take the set's layout.
        control: the network kind that is also trained on codes drawn from the uniform and the unigram prior; or None.
        seeds: of networks and drawn codes; counted priors need none.
        fit: trains a network: (kind, spec, train, valid, seed) -> prior.
        coder: encode (prior, codes) and decode (prior, bytes, space); None to leave coding out.
        on_row: hears of each row.
    """
    rows: list[Row] = []

    def measure(name: str, seed: int, make: Callable[[], Prior]) -> None:
        began = time.process_time()
        prior = make()
        seconds = time.process_time() - began
        rows.append(_row(code_set, name, seed, prior, seconds, coder))
        on_row(rows[-1])

    for kind in kinds:
        if kind in COUNTED:
            measure(kind, 0, lambda kind=kind: counted(kind, code_set.spec, code_set.train))  # type: ignore[misc]
            continue
        for seed in seeds:
            measure(kind, seed, lambda k=kind, s=seed: fit(k, code_set.spec, code_set.train, code_set.valid, s))  # type: ignore[misc]
    for source in CONTROLS if control is not None else ():
        origin = counted(source, code_set.spec, code_set.train)
        for seed in seeds:
            drawn = [drawn_like(part, origin, seed) for part in (code_set.train, code_set.valid)]
            measure(
                f"{control} on {source} codes",
                seed,
                lambda d=drawn, s=seed: fit(str(control), code_set.spec, d[0], d[1], s),  # type: ignore[misc]
            )
    return rows


def counted(kind: str, spec: CodeSpec, items: Sequence[CodeItem]) -> NGramPrior:
    """A counted prior fitted on `items`."""
    return NGramPrior.fit(PriorConfig.model_validate({"codes": spec.model_dump(), "prior": {"kind": kind}}), items)


def drawn_like(items: Sequence[CodeItem], origin: NGramPrior, seed: int) -> list[CodeItem]:
    """Items of the same shapes, every code drawn by itself from the uniform or unigram prior `origin`."""
    rng = np.random.default_rng(seed)
    chances = [origin.distribution(level, [0] * origin.order) for level in range(origin.spec.num_quantizers)]
    return [
        CodeItem(item.name, np.stack([rng.choice(len(p), item.codes.shape[1:], p=p) for p in chances]), item.label)
        for item in items
    ]


def _row(code_set: CodeSet, name: str, seed: int, prior: Prior, seconds: float, coder: Coder | None) -> Row:
    score = total(score_items(prior, code_set.test))
    ratio, back = (None, None) if coder is None else _coded(prior, code_set.test, coder)
    return Row(
        code_set=code_set.name,
        prior=name,
        seed=seed,
        bits_per_code=score.bits_per_code,
        bits_per_second=score.bits_per_second,
        uniform_bits_per_code=score.uniform_bits / score.num_codes,
        reconstruction=code_set.reconstruction,
        coded_ratio=ratio,
        decoded=back,
        num_parameters=prior.num_parameters(),
        seconds=seconds,
    )


def _coded(prior: Prior, items: Sequence[CodeItem], coder: Coder) -> tuple[float, bool]:
    """Coded bits by the prior's bits of some codes, and whether they decode back.

    Sequences are joined into one, as a few bytes are lost at the end of each.
    """
    encode, decode = coder
    if prior.spec.layout == "sequence":
        joined = np.concatenate([item.codes for item in items], axis=1)
        pieces = [joined[:, : max(1, CODED_CODES // len(joined))]]
    else:
        pieces = [item.codes for item in items[: max(1, CODED_CODES // items[0].codes.size)]]
    bits, coded, back = 0.0, 0, True
    for codes in pieces:
        data = encode(prior, codes)
        bits += float(prior.bits(codes).sum())
        coded += 8 * len(data)
        back &= bool((decode(prior, data, codes.shape[1:]) == codes).all())
    return coded / bits, back


# Showing it.


def table(rows: Sequence[Row]) -> str:
    """A Markdown table: one line a set and prior, mean and standard deviation over seeds."""
    header = ["codes", "prior", "bits/code", "saved", "bits/s", "ELBO bits/s", "of it prior", "coded / model bits",
              "decodes", "parameters", "CPU s"]  # fmt: skip
    return markdown(header, [_line(group) for group in _groups(rows)])


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.code_set, row.prior), []).append(row)
    return list(found.values())


def _line(rows: list[Row]) -> list[str]:
    first = rows[0]
    bits = np.mean([row.bits_per_code for row in rows])
    spread = f" ± {np.std([row.bits_per_code for row in rows], ddof=1):.3f}" if len(rows) > 1 else ""
    rate, elbo, share = (_mean([value(row) for row in rows]) for value in (
        lambda row: row.bits_per_second,
        lambda row: row.elbo,
        lambda row: None if row.elbo is None else row.bits_per_second / row.elbo,
    ))  # fmt: skip
    ratio = _mean([row.coded_ratio for row in rows])
    return [
        first.code_set,
        first.prior,
        f"{bits:.3f}{spread}",
        f"{1 - bits / first.uniform_bits_per_code:.1%}",
        "-" if rate is None else f"{rate:.0f}",
        "-" if elbo is None else f"{elbo:.0f}",
        "-" if share is None else f"{share:.2%}",
        "-" if ratio is None else f"{ratio:.4f}",
        "-" if first.decoded is None else "yes" if all(row.decoded for row in rows) else "NO",
        f"{first.num_parameters:,}",
        f"{np.mean([row.seconds for row in rows]):.1f}",
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def tree(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """All rows, JSON-able."""
    return [asdict(row) | {"elbo_bits_per_second": row.elbo} for row in rows]


def figure(rows: Sequence[Row]) -> Any:
    """A matplotlib figure: bits per code as a share of log2 K, a bar a prior, a panel a set; a dot a seed."""
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    sets = list(dict.fromkeys(row.code_set for row in rows))
    drawing = Figure(figsize=(3.2 * len(sets) + 1.8, 3.6))
    panels = drawing.subplots(1, len(sets), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, sets, strict=True):
        groups = _groups([row for row in rows if row.code_set == name])
        for place, group in enumerate(groups):
            shares = [100 * row.bits_per_code / row.uniform_bits_per_code for row in group]
            color = "tab:gray" if " on " in group[0].prior else "tab:blue"
            axes.barh(place, np.mean(shares), color=color, alpha=0.6)
            axes.plot(shares, [place] * len(shares), "k.", markersize=3)
        axes.set_yticks(range(len(groups)), [group[0].prior for group in groups])
        axes.invert_yaxis()
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("bits per code, % of log2 K")
    drawing.tight_layout()
    return drawing
