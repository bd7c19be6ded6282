"""Networks, one architecture a file; `table.py` is the explicit table of them, `weights.py` their files on disk."""
