"""The `framemesh` command."""
