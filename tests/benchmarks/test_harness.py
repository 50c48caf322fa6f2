"""The harness measures what it says: turns, ratios within a round, memory of torch and numpy alike."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
import torch


def test_pin_leaves_one_core_and_one_thread(benchmark_module):
    benchmark_module("harness").pin()
    assert torch.get_num_threads() == 1
    if hasattr(os, "sched_getaffinity"):
        assert len(os.sched_getaffinity(0)) == 1


def test_rounds_start_with_another_candidate_each(benchmark_module):
    harness = benchmark_module("harness")
    order = []

    def call(name):
        order.append(name)
        until = time.process_time() + 1e-3 * harness.SHORTEST_MS
        while time.process_time() < until:
            pass

    timings = harness.compare({name: lambda name=name: call(name) for name in "abc"}, rounds=3)
    assert {timing.calls for timing in timings.values()} == {1}
    assert "".join(order[-9:]) == "abcbcacab"


def test_the_ratio_is_that_of_the_times(benchmark_module):
    harness = benchmark_module("harness")

    def wait(seconds):  # CPU time, so that the machine's load doesn't enter
        until = time.process_time() + seconds
        while time.process_time() < until:
            pass

    timings = harness.compare({"one": lambda: wait(0.006), "three": lambda: wait(0.018)}, rounds=5)
    assert timings["one"].ratio == 1
    assert timings["three"].ratio == pytest.approx(3, rel=0.3)
    assert timings["three"].ms == pytest.approx(18, rel=0.3)


def test_a_quick_call_is_repeated(benchmark_module):
    assert benchmark_module("harness").compare({"quick": lambda: None}, rounds=1)["quick"].calls > 100


@pytest.mark.parametrize("allocate", [torch.ones, lambda n: np.ones(n, np.float32)], ids=["torch", "numpy"])
def test_peak_memory_counts_what_was_freed_within_the_call(benchmark_module, allocate):
    harness = benchmark_module("harness")
    peak = harness.peak_memory(lambda: float((allocate(5_000_000)[:1] + allocate(2)[:1])[0]))
    if peak is None:
        pytest.skip("peak memory is measured on Linux with glibc only")
    assert peak == pytest.approx(20, abs=2)


def test_a_table_aligns_text_to_the_left_and_numbers_to_the_right(benchmark_module):
    lines = benchmark_module("harness").table(["name", "ms"], [["a", 1.2345], ["longer", None], ["b", 1234.5]])
    assert lines.splitlines() == [
        "| name   |   ms |",
        "| ------ | ---: |",
        "| a      | 1.23 |",
        "| longer |    - |",
        "| b      | 1234 |",
    ]


def test_json_holds_the_machine_and_the_tables(benchmark_module, tmp_path):
    harness = benchmark_module("harness")
    harness.write_json(tmp_path / "out.json", harness.machine(), rows=[{"a": 1}], targets=[])
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["machine"].keys() >= {"date", "cpu", "threads", "torch", "numpy"}
    assert content["rows"] == [{"a": 1}]
    assert content["targets"] == []
