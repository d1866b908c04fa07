"""A small, correct layer over the `vulkan` package's cffi bindings."""
