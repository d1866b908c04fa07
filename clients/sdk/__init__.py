"""The Python client: sessions of a gateway as async iterators. Start at `connect`."""
