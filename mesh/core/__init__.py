"""Vocabulary every part shares: errors, identity, wire messages, the workload contract."""
