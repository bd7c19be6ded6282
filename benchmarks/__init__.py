"""Benchmarks: not timed tests; each prints a table and one JSON line. `make bench` runs them all."""

from packshot.core.process import wait_without_spinning

wait_without_spinning()  # As the command line does; it has to come before torch is imported.
