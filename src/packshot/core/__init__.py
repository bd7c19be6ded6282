"""Foundations that know no pictures and no networks: errors, config, files, runs, random streams."""
