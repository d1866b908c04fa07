"""Rate control against invented pictures, whose cost at each quantiser is known."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.quantiser import (
    FLATTEST,
    LEAST,
    MOST,
    STEEPEST,
    STEP_DOWN,
    STEP_UP,
    WHOLE_FINER,
    Curve,
    Eye,
    Look,
    Quantiser,
)

PIXELS, FPS, BPS = 1280 * 720, 60.0, 8_000_000
MEAN_BITS = BPS / FPS


MOVING = Look(change=4.0, detail=5.0)


class Content:
    """Pictures that cost `bits` at quantiser 30, and 2**slope times as much one below."""

    def __init__(self, bits: float, slope: float, look: Look = MOVING) -> None:
        self.bits, self.slope, self.look = bits, slope, look

    def nbytes(self, quantiser: int) -> int:
        return round(self.bits * 2 ** (self.slope * (30 - quantiser)) / 8)


def play(rate: Quantiser, content: Content, pictures: int) -> list[tuple[int, int]]:
    """Quantiser and bits of each picture."""
    seen = []
    for _ in range(pictures):
        quantiser = rate.choose(False, content.look)
        nbytes = content.nbytes(quantiser)
        rate.encoded(nbytes)
        seen.append((quantiser, nbytes * 8))
    return seen


CONTENTS = st.builds(
    Content,
    bits=st.floats(MEAN_BITS / 8, MEAN_BITS * 8),
    slope=st.floats(FLATTEST, STEEPEST),
    look=st.builds(Look, change=st.floats(0.5, 40), detail=st.floats(0.5, 40)),
)


@given(CONTENTS)
def test_the_bitrate_is_kept_where_the_quantiser_can(content):
    rate = Quantiser(PIXELS, FPS, BPS)
    seen = play(rate, content, 600)[480:]  # the first ones may have been far too large
    mean = sum(bits for _, bits in seen) / len(seen)
    assert mean <= 1.05 * MEAN_BITS or {quantiser for quantiser, _ in seen} == {MOST}
    finer = min(quantiser for quantiser, _ in seen) - 1
    assert mean >= 0.4 * MEAN_BITS or finer < LEAST


@given(CONTENTS, st.floats(0.2, 1.0))
def test_a_lower_bitrate_is_followed(content, share):
    rate = Quantiser(PIXELS, FPS, BPS)
    play(rate, content, 480)
    rate.set_bitrate(round(share * BPS))
    seen = play(rate, content, 120)[60:]
    mean = sum(bits for _, bits in seen) / len(seen)
    assert mean <= 1.05 * share * MEAN_BITS or {quantiser for quantiser, _ in seen} == {MOST}


@given(st.lists(CONTENTS, min_size=2, max_size=6), st.data())
def test_the_quantiser_moves_by_bounded_steps_whatever_comes(contents, data):
    rate = Quantiser(PIXELS, FPS, BPS)
    last = None
    for content in contents:
        for _ in range(5):
            whole = data.draw(st.booleans())
            quantiser = rate.choose(whole, content.look)
            assert LEAST <= quantiser <= MOST
            if last is not None:
                assert quantiser >= last - (WHOLE_FINER if whole else STEP_DOWN)
            rate.encoded(content.nbytes(quantiser))
            last = quantiser


def test_a_change_of_scene_is_quantised_as_one_before_it_is_encoded():
    rate = Quantiser(PIXELS, FPS, BPS)
    quiet = Content(MEAN_BITS, 1 / 6, Look(1.0, 0.0))
    before, _ = play(rate, quiet, 120)[-1]
    seen = rate.choose(False, Look(32.0, 0.0))
    assert seen > before + STEP_UP


def test_a_whole_picture_is_no_coarser_than_it_must_be_and_is_paid_for():
    rate = Quantiser(PIXELS, FPS, BPS)
    content = Content(MEAN_BITS, 1 / 6)
    play(rate, content, 120)
    rate.choose(True, content.look)
    rate.encoded(round(4 * MEAN_BITS / 8))
    after = play(rate, content, 60)
    assert sum(bits for _, bits in after) <= 57.5 * MEAN_BITS


@given(
    st.lists(st.tuples(st.integers(LEAST, MOST), st.floats(8, 24)), min_size=1, max_size=20),
    st.floats(4, 30),
    st.integers(LEAST, MOST - 1),
)
def test_a_curve_falls_and_goes_through_what_was_learnt_last(learnt, wanted, least):
    curve = Curve(16.0, 26)
    for quantiser, cost in learnt:
        curve.learn(quantiser, cost)
    assert math.isclose(curve.cost(quantiser), cost)
    around = [curve.cost(q) for q in range(MOST + 1)]
    assert all(math.isclose(a, b, abs_tol=1e-9) or a > b for a, b in itertools.pairwise(around))
    finest = curve.finest(wanted, least, MOST)
    assert finest == next((q for q in range(least, MOST) if around[q] <= wanted), MOST)


def test_the_eye_sees_change_and_detail_in_levels():
    eye = Eye(64)
    picture = np.full((96, 64), 100, np.uint8)
    picture[:64, ::2] = 110
    first = eye.look(picture, closely=True)
    assert (first.change, first.detail) == (255.0, 10.0)
    picture[:64] += 3
    assert eye.look(picture, closely=False) == Look(3.0, 0.0)
    assert eye.look(picture, closely=False).change == 0.0
