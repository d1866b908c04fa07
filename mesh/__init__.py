"""The foundation: links, schedule, devices and streams. Imports no wing (docs/architecture.md)."""
