"""What `bench.detect` measures with: truth of three kinds, and what counts as found."""
