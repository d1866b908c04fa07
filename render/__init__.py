"""The rendering wing: scenes in, tiles of pictures out, on Vulkan."""
