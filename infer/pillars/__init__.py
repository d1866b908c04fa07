"""PointPillars: objects in a LiDAR sweep by a network, from anybody's weights."""
