import pytest

from mesh.core.loop import LAG_BOUNDS_US, LoopLag


@pytest.mark.parametrize("late_us", [0, 500, 501, 2_000, 10**9])
def test_each_wake_up_is_counted_once_in_the_bucket_that_bounds_it(late_us: int) -> None:
    lag = LoopLag()
    lag.record(late_us)
    assert sum(lag.counts) == 1
    at = lag.counts.index(1)
    assert at == 0 or late_us > LAG_BOUNDS_US[at - 1]
    assert at == len(LAG_BOUNDS_US) or late_us <= LAG_BOUNDS_US[at]
    assert lag.summary()["worst_us"] == late_us
