"""Figures of generated pictures: distance to the photos, copies, agreement; each with its interval and protocol."""
