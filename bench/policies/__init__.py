"""Published and plain policies, to hold the schedule against; no part of the product."""
