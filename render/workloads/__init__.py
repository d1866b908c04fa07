"""Workloads that ship beside `render`, as docs/extending.md walks through them."""
