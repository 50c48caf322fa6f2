"""The test vectors in docs/codes-format.md are what the code writes and reads."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiovq.bitstream import AudioHeader, CodesReader, CodesWriter, Header, ImageHeader
from audiovq.bitstream.header import MAX_CODEBOOK_SIZE, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, VERSION

DOCUMENT = (Path(__file__).parents[2] / "docs" / "codes-format.md").read_text(encoding="utf-8")
VECTORS = re.findall(r"```json vector\n(.*?)```\s+```hexdump\n(.*?)```", DOCUMENT, re.DOTALL)


def parse(vector: tuple[str, str]) -> tuple[Header, np.ndarray, int | None, bytes]:
    case: dict[str, Any] = json.loads(vector[0])
    fields = case["header"]
    for name in {"fingerprint", "global_code"} & fields.keys():
        fields[name] = bytes.fromhex(fields[name])
    header: Header = ImageHeader(**fields) if "height" in fields else AudioHeader(**fields)
    codes = np.array(case["codes"], np.int64).reshape(header.channels, header.num_quantizers, -1)
    return header, codes, case.get("stream_num_samples"), bytes.fromhex(re.sub(r"(?m)^[0-9a-f]{4}  ", "", vector[1]))


def test_document_has_its_four_vectors() -> None:
    assert len(VECTORS) == 4 == DOCUMENT.count("```hexdump")


@pytest.mark.parametrize("vector", VECTORS, ids=["known length", "stream", "empty", "image"])
def test_vector_is_written_and_read_as_documented(vector: tuple[str, str]) -> None:
    header, codes, num_samples, data = parse(vector)
    file = io.BytesIO()
    writer = CodesWriter(file, header)
    writer.write(codes)
    writer.close(num_samples)
    assert file.getvalue().hex(" ") == data.hex(" ")
    reader = CodesReader(io.BytesIO(data))
    assert reader.header == header
    np.testing.assert_array_equal(reader.read(), codes)


def test_limits_in_the_document_are_those_of_the_code() -> None:
    assert (VERSION, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, MAX_CODEBOOK_SIZE) == (1, 4096, 2**18, 2**24)
    for limit in ("version 1", "at most 4096", "payload at most 2^18 bytes", "K from 2 to 2^24"):
        assert limit in DOCUMENT
