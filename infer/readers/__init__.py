"""Sweeps from recorded data sets."""
