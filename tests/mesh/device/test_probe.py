"""Probing in children that may refuse, crash or hang."""

from mesh.device.probe import probe
from mesh.device.supervisor import DeviceLimits


async def test_each_workload_is_found_or_said_why_not(tiny_plugins, info):
    settings = {
        "good": {},
        "none": {"probe": "none"},
        "crash": {"probe": "crash"},
        "raise": {"probe": "raise"},
    }
    report = await probe(settings, plugins=tiny_plugins(*settings))
    assert report.found == {"good": (info,)}
    assert report.units == {"tiny": (info,)}
    assert report.found_on("tiny") == {"good": (info,)}
    assert report.found_on("other") == {"good": ()}
    assert report.why_not.keys() == {"none", "crash", "raise"}
    assert report.why_not["none"] == "no tiny device: the test says so. Install one."
    assert "SIGABRT" in report.why_not["crash"]
    assert "RuntimeError: probe went wrong" in report.why_not["raise"]


async def test_a_probe_that_hangs_is_ended_and_said(tiny_plugins):
    report = await probe(
        {"hang": {"probe": "hang"}},
        plugins=tiny_plugins("hang"),
        limits=DeviceLimits(start_us=500_000),
    )
    assert report.found == {}
    assert "did not answer within 500 ms" in report.why_not["hang"]


async def test_infos_of_one_unit_are_listed_once(tiny_plugins, info):
    settings = {"first": {}, "second": {}}
    report = await probe(settings, plugins=tiny_plugins(*settings))
    assert report.units == {"tiny": (info,)}
    assert report.found == {"first": (info,), "second": (info,)}
