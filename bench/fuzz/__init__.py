"""Fuzzing of everything that reads content from outside. `python -m bench.fuzz` runs it."""
