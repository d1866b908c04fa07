"""Kernels of the sweep pipeline: one scalar body each, bound to the CPU and to CUDA."""
