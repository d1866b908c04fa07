"""From sweeps and the boxes in them to tracks and free space, and to files others can open."""
