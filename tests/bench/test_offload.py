"""What `bench.offload` counts, on logs of known content."""

from __future__ import annotations

from collections.abc import Sequence

from bench.offload import answers_per_cycle, longest, rate_hz
from bench.vehicle import Log, Record


def log(cycles: Sequence[int], asked: int = 3, given: int = 3) -> Log:
    records = [Record(c, "remote", 200_000 * c, 0, 0, ("a",) * (c % 2), "a") for c in cycles]
    return Log(asked, given, 0, 0, records)


def test_each_cycle_is_counted_also_one_without_an_answer_or_with_two():
    assert answers_per_cycle(log([1, 2, 3])) == [1, 1, 1]
    assert sorted(answers_per_cycle(log([1, 3], given=2))) == [0, 1, 1]
    assert max(answers_per_cycle(log([1, 2, 3], given=4))) == 2
    assert max(answers_per_cycle(log([1, 2, 2], given=3))) == 2


def test_the_longest_run_is_found():
    records = log([1, 2, 4, 6, 7, 8], asked=6).records
    assert longest(records, lambda record: not record.sent_to) == 3
    assert longest(records, lambda record: record.mark == "local") == 0


def test_the_rate_is_that_of_the_beginnings():
    assert rate_hz(log([1, 2, 3])) == 5
