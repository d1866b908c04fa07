"""Authenticated, clock-mapped, priority-ordered message links between nodes."""
