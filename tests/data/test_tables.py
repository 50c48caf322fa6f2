"""Tables of two columns: what is wrong in one is named by its line."""

from __future__ import annotations

import pytest

from audiovq.cli.prior.codes import read_labels
from audiovq.cli.shared.archive import read_map
from audiovq.data.image.sources import read_labels as read_classes
from audiovq.data.tables import read_pairs
from audiovq.errors import BadDataError
from audiovq.metrics.scores import read_groups

READERS = {
    "labels": read_labels,
    "map": read_map,
    "classes": read_classes,
    "groups": lambda path: read_groups(path, []),
}


@pytest.fixture(params=READERS)
def read(request):
    return READERS[request.param]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "list"


def test_empty_lines_count_where_a_mistake_is_named(read, path):
    path.write_text("a x\n\n\nb\n")
    with pytest.raises(BadDataError, match="list:4: malformed line 'b'"):
        read(path)


def test_lists_made_by_hand_may_be_untidy(read, path):
    path.write_bytes(b"b y\r\n\r\na\tx")
    assert read(path) == {"b": "y", "a": "x"}


def test_an_id_with_two_values_is_refused(read, path):
    path.write_text("a x\nb y\na x\n")  # as where lists were joined
    assert read(path) == {"a": "x", "b": "y"}
    path.write_text("a x\nb y\na y\n")
    with pytest.raises(BadDataError, match="list:3: id a is on line 1 already"):
        read(path)


def test_a_list_that_is_not_there_or_no_text_is_named(read, path):
    with pytest.raises(BadDataError, match="list: can't be read"):
        read(path)
    path.write_bytes(b"a \xff\n")
    with pytest.raises(BadDataError, match="list: not UTF-8 at byte 2"):
        read(path)


def test_values_may_hold_blanks_but_groups_not(path):
    path.write_text("a two words\n")
    assert read_labels(path) == {"a": "two words"}
    assert read_classes(path) == {"a": "two"}
    with pytest.raises(BadDataError, match="list:1: malformed line 'a two words'"):
        read_groups(path, ["a"])


def test_a_strict_list_is_in_any_order_but_tidy(path):
    path.write_text("b y\na x\n")
    assert read_pairs(path, strict=True).values == {"b": "y", "a": "x"}
    for content, problem in (("a x\n\nb y\n", ":2: malformed"), ("a x\r\n", ":1: ends in a"), ("a x", "no newline")):
        path.write_text(content, newline="")
        with pytest.raises(BadDataError, match=problem):
            read_pairs(path, strict=True)
