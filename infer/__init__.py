"""The inference wing: sensor sweeps in, boxes and occupancy out (next milestone)."""
