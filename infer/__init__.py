"""The inference wing: LiDAR sweeps in, boxes around what stands on the ground out."""
