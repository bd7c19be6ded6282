"""A network that finds damage on photos: dust, scratches, stains, holes, missing blocks."""
