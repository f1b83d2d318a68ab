"""What things cost: `python -m tests.benchmarks --help`. rows.py holds the table and its goals."""
