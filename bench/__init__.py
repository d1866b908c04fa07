"""Benchmarks: one file per question, each run alone; METHODOLOGY.md says how they measure."""
