"""What `bench.stream` runs: the source, the senders that show it, the page, the scenarios."""
