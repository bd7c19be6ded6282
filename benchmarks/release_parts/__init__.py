"""What benchmarks.release is made of: its photos, what is done to them, and the watermarks that are compared."""
