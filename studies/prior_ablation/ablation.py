"""Measures what a learned prior is worth: every prior on the same codes, and the same network on codes of other origin.

The controls answer a question that the paper leaves open (arXiv 1711.00937, section 3.3): is the prior trained on codes
of the encoder, or on codes drawn from the prior? Trained on codes drawn from the uniform prior, a network can only
learn log2 K bits. On codes from the unigram prior it can only learn the unigram's entropy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from audiovq.metrics.table import markdown
from audiovq.prior import COUNTED, CodeItem, CodeSpec, NGramPrior, Prior, PriorConfig, score_items, total
from audiovq.prior.base import Codes
from studies.prior_ablation.sample_quality import Judge, Quality, SampleQuality

CODED_CODES = 1000  # so many held-out codes go through the arithmetic coder and back
CONTROLS = ("uniform", "unigram")

Fit = Callable[[str, CodeSpec, Sequence[CodeItem], Sequence[CodeItem], int], tuple[Prior, float]]
ItemCoder = tuple[
    Callable[[Prior, Sequence[Codes]], bytes], Callable[[Prior, bytes, Sequence[Sequence[int]]], list[Codes]]
]


@dataclass(frozen=True)
class CodeSet:
    """Codes of one codec, in three parts that share no item.

    Attributes:
        name: in the table.
        spec: of the codes.
        train: what priors are fitted on; valid: by which a network's best step is chosen; test: what is reported.
        reconstruction: -log2 p(x | codes) of the codec's decoder: of sound in bits per second, of images in bits per
            dimension; None where it has no likelihood.
        judge: of samples; None to compare their codes only.
        dims: values C H W of each image; None for sound.
    """

    name: str
    spec: CodeSpec
    train: Sequence[CodeItem]
    valid: Sequence[CodeItem]
    test: Sequence[CodeItem]
    reconstruction: float | None = None
    judge: Judge | None = None
    dims: int | None = None


@dataclass(frozen=True)
class Anchor:
    """What samples are measured by: codes of the encoder as they are, or shuffled."""

    code_set: str
    name: str
    quality: Quality


@dataclass(frozen=True)
class ResultRow:
    """One prior on one set, with one seed.

    Attributes:
        code_set, prior, seed: which. `prior` is a kind, or "KIND on uniform codes" and "... unigram codes".
        bits_per_code: on the test part; bits_per_second, of sound, bits_per_dim, of images: None where not known.
        uniform_bits_per_code: the mean of log2 K.
        reconstruction: see CodeSet.
        coded_ratio: arithmetic-coded bits by the prior's bits, on some test codes; None without a coder.
        decoded: whether those came back.
        num_parameters: weights or counts; seconds: CPU time of fitting.
        quality: of samples; None where none were drawn.
    """

    code_set: str
    prior: str
    seed: int
    bits_per_code: float
    bits_per_second: float | None
    bits_per_dim: float | None
    uniform_bits_per_code: float
    reconstruction: float | None
    coded_ratio: float | None
    decoded: bool | None
    num_parameters: int
    seconds: float
    quality: Quality | None = None

    @property
    def price(self) -> float | None:
        """Of the codes: bits per second of sound, or bits per dimension of images."""
        return self.bits_per_dim if self.bits_per_second is None else self.bits_per_second

    @property
    def elbo(self) -> float | None:
        """Codes and what they stand for together (minus the bound), in that unit; None without a likelihood."""
        return None if self.reconstruction is None or self.price is None else self.reconstruction + self.price


@dataclass(frozen=True)
class Results:
    """Everything that was measured, of one set or several, and by set what its judge looks at."""

    rows: list[ResultRow] = field(default_factory=list)
    anchors: list[Anchor] = field(default_factory=list)
    judges: dict[str, str] = field(default_factory=dict)

    def add(self, more: Results) -> None:
        """Those of another set."""
        self.rows.extend(more.rows)
        self.anchors.extend(more.anchors)
        self.judges.update(more.judges)


def ablate(
    code_set: CodeSet,
    kinds: Sequence[str],
    control: str | None,
    seeds: Sequence[int],
    fit: Fit,
    coder: ItemCoder | None,
    on_row: Callable[[ResultRow], None] = lambda row: None,
) -> Results:
    """Fit and measure every kind, the networks once a seed.

    Args:
        code_set: what on.
        kinds: of `audiovq.prior.KINDS`, those that take the set's layout.
        control: the network kind that is also trained on codes drawn from the uniform and the unigram prior; or None.
        seeds: of networks and drawn codes; counted priors need none.
        fit: trains a network: (kind, spec, train, valid, seed) -> prior, and the CPU seconds that took.
        coder: `encode_items` and `decode_items` of `audiovq.prior.coding`; None to leave coding out.
        on_row: hears of each row.
    """
    rows: list[ResultRow] = []
    samples = SampleQuality(code_set.spec, code_set.train, code_set.test, code_set.judge)

    def measure(name: str, seed: int, prior: Prior, seconds: float) -> None:
        rows.append(_row(code_set, name, seed, prior, seconds, coder, samples))
        on_row(rows[-1])

    for kind in kinds:
        if kind in COUNTED:
            began = time.process_time()
            prior = counted(kind, code_set.spec, code_set.train)
            measure(kind, 0, prior, time.process_time() - began)
            continue
        for seed in seeds:
            measure(kind, seed, *fit(kind, code_set.spec, code_set.train, code_set.valid, seed))
    for source in CONTROLS if control is not None else ():
        origin = counted(source, code_set.spec, code_set.train)
        for seed in seeds:
            train, valid = (drawn_like(part, origin, seed) for part in (code_set.train, code_set.valid))
            measure(f"{control} on {source} codes", seed, *fit(str(control), code_set.spec, train, valid, seed))
    anchors = [Anchor(code_set.name, name, quality) for name, quality in samples.anchors().items()]
    judges = {} if code_set.judge is None else {code_set.name: code_set.judge.description}
    return Results(rows, anchors, judges)


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


def _row(
    code_set: CodeSet,
    name: str,
    seed: int,
    prior: Prior,
    seconds: float,
    coder: ItemCoder | None,
    samples: SampleQuality,
) -> ResultRow:
    score = total(score_items(prior, code_set.test))
    ratio, back = (None, None) if coder is None else _coded(prior, code_set.test, coder)
    return ResultRow(
        code_set=code_set.name,
        prior=name,
        seed=seed,
        bits_per_code=score.bits_per_code,
        bits_per_second=score.bits_per_second,
        bits_per_dim=None if code_set.dims is None else score.bits / (code_set.dims * len(code_set.test)),
        uniform_bits_per_code=score.uniform_bits / score.num_codes,
        reconstruction=code_set.reconstruction,
        coded_ratio=ratio,
        decoded=back,
        num_parameters=prior.num_parameters(),
        seconds=seconds,
        quality=samples.of_prior(prior, seed),
    )


def _coded(prior: Prior, items: Sequence[CodeItem], coder: ItemCoder) -> tuple[float, bool]:
    """Coded bits by the prior's bits of the first test codes, and whether they decode back."""
    encode, decode = coder
    pieces: list[Codes] = []
    left = CODED_CODES
    for item in items:
        if left <= 0:
            break
        # a grid is taken whole
        pieces.append(item.codes if item.codes.ndim == 3 else item.codes[:, : max(1, left // len(item.codes))])
        left -= pieces[-1].size
    data = encode(prior, pieces)
    decoded = decode(prior, data, [piece.shape[1:] for piece in pieces])
    back = all(bool((x == y).all()) for x, y in zip(decoded, pieces, strict=True))
    return 8 * len(data) / sum(float(prior.bits(piece).sum()) for piece in pieces), back


# Showing it.


def table(results: Results) -> str:
    """A Markdown table: one line a set and prior, mean and standard deviation over seeds; then the anchors.

    Below it what the judges look at.
    """
    units = {"/s" if row.bits_per_dim is None else "/dim" for row in results.rows}
    unit = " or ".join(f"bits{unit}" for unit in sorted(units, reverse=True))
    header = ["codes", "prior", "bits/code", "saved", unit, f"ELBO {unit}", "of it prior", "coded / model bits",
              "decodes", "parameters", "CPU s", "pairs JS, bits", "Frechet", "kernel"]  # fmt: skip
    lines = [_line(group) for group in _groups(results.rows)]
    lines += [[a.code_set, a.name, *["-"] * 9, *_quality([a.quality])] for a in results.anchors]
    lines.sort(key=lambda line: _sets(results).index(line[0]))
    return "\n\n".join([markdown(header, lines), *(f"{name}: {text}" for name, text in results.judges.items())])


def _sets(results: Results) -> list[str]:
    return list(dict.fromkeys(row.code_set for row in results.rows))


def _groups(rows: Sequence[ResultRow]) -> list[list[ResultRow]]:
    found: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        found.setdefault((row.code_set, row.prior), []).append(row)
    return list(found.values())


def _line(rows: list[ResultRow]) -> list[str]:
    first = rows[0]
    bits = np.mean([row.bits_per_code for row in rows])
    rate, elbo, share = (_mean([value(row) for row in rows]) for value in (
        lambda row: row.price,
        lambda row: row.elbo,
        lambda row: None if row.elbo is None else row.price / row.elbo,
    ))  # fmt: skip
    ratio = _mean([row.coded_ratio for row in rows])
    digits = 0 if first.bits_per_dim is None else 3
    return [
        first.code_set,
        first.prior,
        _spread([row.bits_per_code for row in rows], 3),
        f"{1 - bits / first.uniform_bits_per_code:.1%}",
        "-" if rate is None else f"{rate:.{digits}f}",
        "-" if elbo is None else f"{elbo:.{digits}f}",
        "-" if share is None else f"{share:.2%}",
        "-" if ratio is None else f"{ratio:.4f}",
        "-" if first.decoded is None else "yes" if all(row.decoded for row in rows) else "NO",
        f"{first.num_parameters:,}",
        f"{np.mean([row.seconds for row in rows]):.1f}",
        *_quality([row.quality for row in rows if row.quality is not None]),
    ]


def _quality(found: Sequence[Quality]) -> list[str]:
    return [
        _spread([one.pairs for one in found], 3),
        _spread([one.frechet for one in found if one.frechet is not None], 2),
        _spread([one.kernel for one in found if one.kernel is not None], 3),
    ]


def _spread(values: Sequence[float], digits: int) -> str:
    """Mean and, of several, standard deviation."""
    if not values:
        return "-"
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def tree(results: Results) -> dict[str, Any]:
    """Everything, JSON-able."""
    return {
        "rows": [asdict(row) | {"elbo": row.elbo} for row in results.rows],
        "anchors": [asdict(anchor) for anchor in results.anchors],
        "judges": results.judges,
    }


def figure(results: Results) -> Any:
    """A matplotlib figure: bits per code as a share of log2 K, a bar a prior, a panel a set; a dot a seed.

    Below, how far samples are from codes of the encoder: the Frechet distance where there is one, else the divergence
    of pairs; lines are the anchors.
    """
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    sets = _sets(results)
    drawing = Figure(figsize=(3.2 * len(sets) + 1.8, 7.0))
    panels = drawing.subplots(2, len(sets), sharey=True, squeeze=False)
    for column, name in enumerate(sets):
        groups = _groups([row for row in results.rows if row.code_set == name])
        bits = [[100 * row.bits_per_code / row.uniform_bits_per_code for row in group] for group in groups]
        labels = [group[0].prior for group in groups]
        _bars(panels[0, column], labels, bits, "bits per code, % of log2 K")
        panels[0, column].set_title(name, fontsize=10)
        found = [[row.quality for row in group if row.quality is not None] for group in groups]
        judged = all(one.frechet is not None for group in found for one in group)
        _bars(panels[1, column], labels, [[_distance(one, judged) for one in group] for group in found],
              "samples: Frechet distance" if judged else "samples: divergence of pairs, bits")  # fmt: skip
        for anchor in results.anchors:
            if anchor.code_set == name:
                panels[1, column].axvline(_distance(anchor.quality, judged), color="k", linestyle=":", linewidth=1)
    drawing.tight_layout()
    return drawing


def _distance(quality: Quality, judged: bool) -> float:
    return quality.frechet if judged and quality.frechet is not None else quality.pairs


def _bars(axes: Any, labels: Sequence[str], values: Sequence[Sequence[float]], title: str) -> None:
    for place, (label, own) in enumerate(zip(labels, values, strict=True)):
        axes.barh(place, np.mean(own), color="tab:gray" if " on " in label else "tab:blue", alpha=0.6)
        axes.plot(own, [place] * len(own), "k.", markersize=3)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(title)
