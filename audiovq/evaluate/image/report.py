"""The report on an image codec: its sizes and scores beside those of other formats, as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from audiovq.evaluate.image.formats import Coded
from audiovq.metrics.table import markdown

HEADERS = ("image", "pixels", "codec", "bytes", "bits/pixel", "PSNR, dB", "SSIM")


@dataclass(frozen=True)
class ImageScores:
    """One image in each format, the same formats in the same order for all images."""

    name: str
    height: int
    width: int
    coded: Sequence[Coded]

    @property
    def pixels(self) -> int:
        return self.height * self.width


def report_table(reports: Sequence[ImageScores], *, each: bool = True) -> str:
    """Markdown: the rows of each image if asked for, then those of all."""
    rows = []
    for report in reports if each else ():
        size = f"{report.width} x {report.height}"
        rows += [_row(report.name, size, _setting(one), one, report.pixels) for one in report.coded]
    total = sum(report.pixels for report in reports)
    for i, one in enumerate(in_all(reports)):
        smallest = sum(report.coded[i].smallest for report in reports)
        note = f", smallest for {smallest}" if smallest else ""
        rows.append(_row(f"all {len(reports)}", str(total), f"{one.codec}{note}", one, total))
    return markdown(HEADERS, rows)


def report_tree(reports: Sequence[ImageScores]) -> dict[str, Any]:
    """The same for JSON."""
    total = sum(report.pixels for report in reports)
    return {
        "images": [
            {
                "name": report.name,
                "height": report.height,
                "width": report.width,
                "codecs": [_facts(one, report.pixels) for one in report.coded],
            }
            for report in reports
        ],
        "all": {
            "count": len(reports),
            "pixels": total,
            "codecs": [
                {key: value for key, value in _facts(one, total).items() if key not in ("quality", "smallest")}
                for one in in_all(reports)
            ],
        },
    }


def in_all(reports: Sequence[ImageScores]) -> list[Coded]:
    """Of each format the bytes of all images together, and the means over images of PSNR and SSIM.

    PSNR is of the images that lost anything, SSIM of those that have one.
    """
    return [
        Coded(
            same[0].codec,
            sum(one.num_bytes for one in same),
            _mean([one.psnr_db for one in same if math.isfinite(one.psnr_db)], math.inf),
            _mean([one.ssim for one in same if not math.isnan(one.ssim)], math.nan),
        )
        for same in zip(*(report.coded for report in reports), strict=True)
    ]


def _row(name: str, size: str, codec: str, coded: Coded, pixels: int) -> list[str]:
    psnr = f"{coded.psnr_db:.2f}" if math.isfinite(coded.psnr_db) else "lossless"
    ssim = "-" if math.isnan(coded.ssim) else f"{coded.ssim:.4f}"
    return [name, size, codec, str(coded.num_bytes), f"{8 * coded.num_bytes / pixels:.3f}", psnr, ssim]


def _setting(coded: Coded) -> str:
    quality = "" if coded.quality is None else f" {coded.quality}"
    return f"{coded.codec}{quality}{', smallest' if coded.smallest else ''}"


def _facts(coded: Coded, pixels: int) -> dict[str, Any]:
    return asdict(coded) | {"bits_per_pixel": 8 * coded.num_bytes / pixels}


def _mean(values: list[float], of_none: float) -> float:
    return sum(values) / len(values) if values else of_none
