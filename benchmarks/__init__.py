"""Figures of a machine at rest: each module is a command of its own, `python -m benchmarks.<name>`."""
