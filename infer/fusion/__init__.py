"""Objects: what LiDAR, cameras and radar say of the things around, brought together."""
