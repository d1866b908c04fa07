"""A whole mesh in virtual time, on the real scheduler objects."""
