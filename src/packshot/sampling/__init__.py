"""From trained weights to pixels: priors, equal shares of the categories, interpolation."""
