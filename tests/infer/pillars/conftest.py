from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infer.perception.voxels import VoxelSpace
from infer.pillars.design import Block, Design, Kind


@pytest.fixture(scope="session")
def design() -> Design:
    """A small one: 16 x 24 cells, two blocks, two kinds."""
    return Design(
        space=VoxelSpace(
            (0.0, -8.0, -3.0), (24.0, 8.0, 1.0), (1.0, 1.0, 4.0), 4, 200, with_height=True
        ),
        pillar_channels=8,
        blocks=(Block(1, 2, 6, 1, 5), Block(2, 2, 7, 2, 5)),
        kinds=(Kind("car", (3.9, 1.6, 1.5), -1.8), Kind("person", (0.8, 0.6, 1.7), -0.6)),
    )


@pytest.fixture(scope="session")
def weights(design: Design) -> dict[str, NDArray[Any]]:
    """Seeded, by OpenPCDet's names."""
    rng = np.random.default_rng(7)
    made: dict[str, NDArray[Any]] = {}

    def norm(name: str, channels: int) -> None:
        made[f"{name}.weight"] = rng.uniform(0.5, 1.5, channels)
        made[f"{name}.bias"] = rng.normal(0, 0.3, channels)
        made[f"{name}.running_mean"] = rng.normal(0, 0.3, channels)
        made[f"{name}.running_var"] = rng.uniform(0.5, 1.5, channels)

    made["vfe.pfn_layers.0.linear.weight"] = rng.normal(0, 0.3, (8, 10))
    norm("vfe.pfn_layers.0.norm", 8)
    taken = 8
    for number, block in enumerate(design.blocks):
        for layer in range(block.layers + 1):
            shape = (block.channels, taken, 3, 3)
            made[f"backbone_2d.blocks.{number}.{1 + 3 * layer}.weight"] = rng.normal(0, 0.2, shape)
            norm(f"backbone_2d.blocks.{number}.{2 + 3 * layer}", block.channels)
            taken = block.channels
        shape = (taken, block.up_channels, block.enlarged, block.enlarged)
        made[f"backbone_2d.deblocks.{number}.0.weight"] = rng.normal(0, 0.3, shape)
        norm(f"backbone_2d.deblocks.{number}.1", block.up_channels)
    for head, values in (("cls", 2), ("box", 7), ("dir_cls", 2)):
        made[f"dense_head.conv_{head}.weight"] = rng.normal(0, 0.3, (values * 4, 10, 1, 1))
        made[f"dense_head.conv_{head}.bias"] = rng.normal(0, 0.3, values * 4)
    return made
