"""What things cost: `python -m proxyclip_core bench`. See bench.py for the command, rows.py for the goals."""
