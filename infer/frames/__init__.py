"""What a vehicle's sensors saw in one cycle: bundles, calibration, how they come together."""
