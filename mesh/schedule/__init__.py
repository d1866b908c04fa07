"""Deadline decisions, all pure: `now_us` comes in, decisions go out."""
