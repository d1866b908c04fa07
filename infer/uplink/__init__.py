"""Sweeps made small for the way up: a stated bound on the error of each point, and zstd."""

from __future__ import annotations

from typing import Literal, TypeAlias

# How a session's sweeps come: as of infer.sweep, or packed (infer.uplink.packing).
Compress: TypeAlias = Literal["none", "delta"]
