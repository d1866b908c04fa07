"""How much an environment may ask for. Each limit is checked before the memory is taken."""

from mesh.core.wire import MAX_BODY

MAX_ENVIRONMENT_BYTES = MAX_BODY  # it travels to a device as one message body
MAX_ENVIRONMENT_SIDE = 8192
MAX_ENVIRONMENT_PIXELS = 16 * 1024 * 1024  # 4096 x 4096, or 5792 x 2896
