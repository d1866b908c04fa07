"""Admitting a machine by a short code that a person reads from one screen and types on another."""
