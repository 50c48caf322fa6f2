"""Every test runs with both coders."""

from __future__ import annotations

import pytest

from audiovq.prior.coder import IntegerCoder

from .small import learned, tables


@pytest.fixture(params=["tables", "learned"])
def coder(request) -> IntegerCoder:
    return {"tables": tables, "learned": learned}[request.param]()
