"""A network that paints what is missing of a picture."""
