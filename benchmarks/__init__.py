"""What dagrun costs, measured beside a bare loop in the same run. `python -m benchmarks`."""
