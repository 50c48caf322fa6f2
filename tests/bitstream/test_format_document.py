"""The test vectors in tests/vectors, which docs/codes-format.md prints, are what the code and others write and read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from audiovq.bitstream import AudioHeader, CodesReader, CodesWriter, Coding, Header, ImageHeader
from audiovq.bitstream.fields import RATES
from audiovq.bitstream.header import LEAST_SHARE, MAX_CODEBOOK_SIZE, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, VERSION
from audiovq.prior.coder import coder_at_hand, coder_file

from . import plain_reader

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "codes-format.md").read_text(encoding="utf-8")
NAMES = ["packed", "stream", "empty", "image", "tables", "learned"]
MODEL = ROOT / "audiovq" / "models" / "speech-16k"


def vector(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text(encoding="utf-8"))


def header_of(case: dict[str, Any]) -> Header:
    fields = dict(case["header"])
    for name in {"fingerprint", "global_code", "coder"} & fields.keys():
        fields[name] = bytes.fromhex(fields[name])
    if "coding" in fields:
        fields["coding"] = Coding[fields["coding"].upper()]
    return ImageHeader(**fields) if "height" in fields else AudioHeader(**fields)


@pytest.mark.parametrize("name", NAMES)
def test_vector_is_written_and_read(name: str) -> None:
    case = vector(name)
    header, data = header_of(case), bytes.fromhex(case["file"])
    codes = np.array(case["codes"], np.int64).reshape(header.channels, header.num_quantizers, -1)
    file = io.BytesIO()
    writer = CodesWriter(file, header, coder_at_hand(header))
    writer.write(codes)
    writer.close(case.get("stream_num_samples"))
    assert file.getvalue().hex() == case["file"]
    reader = CodesReader(io.BytesIO(data), coder_at_hand)
    assert reader.header == header
    np.testing.assert_array_equal(reader.read(), codes)


@pytest.mark.parametrize("name", NAMES)
def test_vector_stands_in_the_document(name: str) -> None:
    case = vector(name)
    section = DOCUMENT[DOCUMENT.index(f"**{name}.json.**") :]
    text, dump = (section.split(f"```{kind}\n")[1].split("```")[0] for kind in ("text", "hexdump"))
    shown = " ".join(text.split())
    for key in ("header", "codes", "stream_num_samples"):
        assert key not in case or f"{key}: {json.dumps(case[key], ensure_ascii=False)}" in shown
    assert "".join("".join(line[4:].split()) for line in dump.splitlines()) == case["file"]


@pytest.mark.parametrize("name", NAMES[:-1])
def test_another_reader_reads_the_vector(name: str) -> None:
    case = vector(name)
    facts, codes = plain_reader.read(bytes.fromhex(case["file"]), load_file(coder_file(MODEL, Coding.TABLES)))
    header = header_of(case)
    wanted = np.array(case["codes"], np.int64).reshape(header.channels, header.num_quantizers, -1)
    np.testing.assert_array_equal(codes, wanted)
    assert (facts["model"], facts["fingerprint"]) == (header.model, header.fingerprint.hex())
    if isinstance(header, AudioHeader):
        assert facts["num_samples"] == case.get("stream_num_samples", header.num_samples)


def test_limits_in_the_document_are_those_of_the_code() -> None:
    assert (VERSION, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, MAX_CODEBOOK_SIZE) == (1, 4096, 2**18, 2**24)
    assert LEAST_SHARE == 16
    listed = ", ".join(map(str, RATES[1:])) + " Hz"
    for limit in ("version 1", "at most 4096", "payload at most 2^18 bytes", "K from 2 to 2^24", listed):
        assert limit in " ".join(DOCUMENT.split())
