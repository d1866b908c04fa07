"""Device processes: isolation, leased shared memory, supervision."""
