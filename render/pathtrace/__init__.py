"""The path tracer: a tree of boxes over a scene's triangles, and what it needs on a device."""
