"""A vehicle's side of inference offload: an answer for every cycle, whatever the mesh does."""
