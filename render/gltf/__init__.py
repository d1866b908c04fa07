"""glTF 2.0 from untrusted bytes: a hardened reader that runs inside the device process.

Specification: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html. `load_gltf` takes one
self-contained GLB (what `render.package.pack` makes); it opens no file and follows no reference.
Whatever the bytes, it returns a checked `Scene` or raises `ContentRefused` naming the place, and
allocates no more than `limits` allow.
"""

from render.gltf.loader import load_gltf

__all__ = ["load_gltf"]
