from __future__ import annotations

import json
import math
import socket
import sys

import pytest

from bench.report import Report, arguments, machine


def test_figures_are_printed_and_kept(tmp_path, monkeypatch, capsys):
    file = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["bench.x", "--quick", "--json", str(file)])
    report = Report("x", config={"size": (2, 3)}, seeds=[7])
    report.table(["way", "ms"], [["short", 1.5], ["long way", 1234.5]])
    report.figure("p50_ms", 1.5)
    report.finish(arguments("about"))
    printed = capsys.readouterr().out
    assert "way          ms\nshort     1.500\nlong way  1,234\n" in printed
    assert "p50_ms = 1.500" in printed
    kept = json.loads(file.read_text())
    assert kept["name"] == "x"
    assert kept["figures"] == {"p50_ms": 1.5}
    assert kept["seeds"] == [7]
    assert kept["config"] == {"size": [2, 3], "quick": True}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="cannot be kept"):
        Report("x").figure("broken", value)


def test_a_figure_is_given_once():
    report = Report("x")
    report.figure("a", 1)
    with pytest.raises(ValueError, match="cannot be kept"):
        report.figure("a", 2)


def test_the_machine_is_described_but_not_named():
    described = machine()
    assert described["cores"] >= 1
    assert socket.gethostname() not in json.dumps(described)
