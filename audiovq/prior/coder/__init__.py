"""Integer coders: priors in whole numbers only, so that bytes decode alike on every machine. They need numpy alone."""

from audiovq.prior.coder.base import IntegerCoder
from audiovq.prior.coder.files import coder_at_hand, coder_file, load_coder, load_coders, read_metadata, save_coder
from audiovq.prior.coder.learned import LearnedCoder
from audiovq.prior.coder.tables import TableCoder

__all__ = [
    "IntegerCoder",
    "LearnedCoder",
    "TableCoder",
    "coder_at_hand",
    "coder_file",
    "load_coder",
    "load_coders",
    "read_metadata",
    "save_coder",
]
