"""Perception on the CPU: what a vehicle does with a sweep before and beside object detection.

Each module owns one step: its parameters, the scratch it keeps, and a call per sweep. The loops
are in `infer.kernels`. `threads` is how many of the CPU's threads a step uses at most.
"""
