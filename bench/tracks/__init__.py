"""Tracking on KITTI as AB3DMOT is evaluated: its inputs, its measure, its method."""
