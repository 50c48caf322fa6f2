"""Whether a simpler prior predicts held-out codes better, as it does where a network has seen too little."""

from __future__ import annotations

from collections.abc import Sequence

from audiovq.prior import COUNTED, CodeItem, CodeSpec, NGramPrior, PriorConfig, score_items, total
from audiovq.prior.config import CountedConfig

QUICK = COUNTED[:3]  # what is counted at once


def better_and_simpler(
    kind: str, bits_per_code: float, spec: CodeSpec, items: Sequence[CodeItem], held_out: Sequence[CodeItem]
) -> tuple[str, float] | None:
    """The best counted prior that is simpler than `kind` and costs fewer bits per held-out code; None if none does."""
    plain = spec.model_copy(update={"labels": []})
    best = None
    for simpler in QUICK:
        if simpler == kind:
            break
        config = PriorConfig(codes=plain, prior=CountedConfig(kind=simpler))  # type: ignore[arg-type]
        prior = NGramPrior.fit(config, [CodeItem(item.name, item.codes) for item in items])
        bits = total(score_items(prior, [CodeItem(item.name, item.codes) for item in held_out])).bits_per_code
        if bits < (bits_per_code if best is None else best[1]):
            best = simpler, bits
    return best
