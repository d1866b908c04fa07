"""The clients wing: command line, browser page, SDK."""
