"""The Python API. What users import stands in `accord` itself; nothing below imports it."""
