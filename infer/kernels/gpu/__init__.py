"""The perception kernels on CUDA: the counterparts of `infer.perception`, on the current GPU.

Each keeps its memory on the GPU, takes what its counterpart takes and returns the same. What
several threads change is changed atomically, so points may be listed in any order; where an order
matters it is made again. See `infer.kernels.cuda` for what they share with the sweep pipeline.
"""
