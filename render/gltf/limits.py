"""How much a scene may ask for. Each limit is checked before the memory is taken."""

from mesh.core.wire import MAX_BODY

MAX_ASSET_BYTES = MAX_BODY  # a scene travels to a device as one message body
MAX_JSON_BYTES = 8 * 1024 * 1024

MAX_ITEMS = 65_536  # entries of any one list in the document
MAX_DRAWS = 65_536

# Primitives may alias one buffer, so their totals are bounded apart from the asset's size.
MAX_VERTICES = 4_000_000  # stored, summed over primitives
MAX_INDICES = 24_000_000
MAX_DRAWN_VERTICES = 16_000_000  # per frame: a primitive counts once for each of its draws

# What moves is posed by the CPU, on a gateway's event loop too: these bound it to milliseconds.
MAX_MOVING_NODES = 8192
MAX_MOVING_DEPTH = 96  # of moving nodes in moving nodes
MAX_JOINTS = 8192  # summed over skins
MAX_TRACKS = 1024  # of one animation, after joining channels that share their times
MAX_KEY_NUMBERS = 8_000_000  # summed over animations
MAX_MORPH_VERTICES = 8_000_000  # summed over primitives: targets times vertices
MAX_BENT_VERTICES = 4_000_000  # copies that skins and morph targets move, summed over draws

MAX_IMAGE_SIDE = 8192  # what every Vulkan device offers is 4096; desktop ones 16384
MAX_PIXELS = 64 * 1024 * 1024  # decoded, summed over images: 256 MiB
MAX_SCANS = 64  # of one JPEG: each goes over the whole picture; progressive ones have about ten

MAX_COORDINATE = 1e9  # metres; beyond it float32 has no resolution left to draw with
MAX_WARNINGS = 64  # further ones are counted, not kept
