"""A small, correct layer over the `vulkan` package's cffi bindings.

Importing `render.vulkan.api` loads libvulkan; everything else here imports it. So a node without
a Vulkan loader imports this package only where it means to use a device, and is told what to
install.
"""
