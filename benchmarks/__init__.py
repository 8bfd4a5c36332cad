"""The project against its peers: each comparison side by side in one run. `python -m benchmarks --help`."""
