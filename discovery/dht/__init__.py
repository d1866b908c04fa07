"""Finding nodes beyond the local network by a distributed hash table: the finder `dht`."""
