"""Faults against the entry scripts, a module a part; see tests/drill.py."""
