"""Devices that take exactly as long as they are told: for measuring the mesh, not the silicon.

A plug-in like any other, but never installed with the product: benches and tests put it beside the
nodes they start (`bench.timed.mesh`, `bench.timed.plugin.install`). Its executor writes real bytes
and sleeps for the rest of its time, so that eight devices fit on two cores.
"""
