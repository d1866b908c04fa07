"""Procedural street drives with exact ground truth: LiDAR, radar and cameras of one seeded world.

`infer.drives.recording.frames` makes sensor frames with their truth; `infer.drives.drive.Drive` is
the world that they are of.
"""
