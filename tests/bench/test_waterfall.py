"""What the waterfall makes of what the gateway told and the page noted."""

import pytest

from bench.waterfall import browser_stages, joined, slowest_piece

STAGES = {"open": 1000, "pieces": 20_000, "compose": 500, "encode": 1500, "send": 300}


def facts(frame: int, opened_us: int) -> dict:
    pieces = [[0, 0, 320, 360, 0, 2000, 9000], [320, 0, 320, 360, 1, 4000, 8000]]
    return {"frame": frame, "opened_us": opened_us, "stages": STAGES, "pieces": pieces}


def test_a_frame_is_its_facts_and_the_drawing_of_the_picture_with_its_number():
    told = {7: facts(7, 1_000_000), 9: facts(9, 1_066_000)}
    pictures = [(60.0, 7), (80.0, None), (100.0, 8), (131.0, 9)]
    drawn = [(52.0, 55.0), (75.0, 79.0), (95.0, 99.0), (124.0, 130.0)]
    seven, nine = joined(told, pictures, drawn, offset_ms=990.0)
    assert (seven.draw_ms, seven.end_to_end_ms) == (3.0, 45.0)
    assert (nine.draw_ms, nine.end_to_end_ms) == (6.0, 54.0)
    assert seven.stages == {stage: us / 1000 for stage, us in STAGES.items()}


def test_a_picture_that_was_drawn_before_the_window_is_left_out():
    assert joined({7: facts(7, 0)}, [(10.0, 7)], [(12.0, 14.0)], 0.0) == []


def test_the_slowest_piece_says_where_the_time_of_all_went():
    parts = slowest_piece(facts(1, 0)["pieces"], 20.0)
    assert parts == {"queue": 4.0, "run": 8.0, "way": 8.0}


def test_the_browsers_means_are_of_the_window():
    trips = {"totalRoundTripTime": 0.03, "responsesReceived": 10}
    before = {
        "framesDecoded": 100,
        "totalDecodeTime": 0.2,
        "totalProcessingDelay": 0.5,
        "trips": trips,
    }
    after = {
        "framesDecoded": 300,
        "totalDecodeTime": 0.6,
        "totalProcessingDelay": 1.5,
        "trips": trips,
    }
    assert browser_stages(before, after) == pytest.approx(
        {"network": 1.5, "receive": 3.0, "decode": 2.0}
    )
