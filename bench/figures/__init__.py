"""The figures of docs/scheduling.md: what is measured for each, and how it is drawn.

`drawing` and `style` import matplotlib, and are imported when a figure is asked for.
"""
