"""Measures the two stages on judged queries: `python -m search.evaluate --help`."""
