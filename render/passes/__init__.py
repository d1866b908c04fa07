"""What is done on the device for a tile: draw the scene, convert the picture."""
