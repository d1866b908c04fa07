"""Other projects' tools, run from their published packages to hold ours against."""
