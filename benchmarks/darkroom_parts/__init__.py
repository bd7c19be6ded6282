"""What benchmarks.darkroom is made of: its tasks, its competitors, and the process that one competitor runs in."""
