"""Environments: pictures of all the light around a scene, from untrusted .hdr and .exr bytes.

An equirectangular picture, twice as wide as high by custom: the top row looks up (+Y), the middle
column along +X, and columns go on towards +Z.
"""

from render.environment.decode import decode_environment, pack_environment

__all__ = ["decode_environment", "pack_environment"]
