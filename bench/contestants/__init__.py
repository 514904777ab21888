"""Who is measured: one script each, run as `python -m bench.contestants.NAME SETTINGS.json` in its own environment.

A script prints a line of JSON last: what `bench.contestants.shared.Report` holds. It knows nothing of rounds or of
whom it is compared with.
"""
