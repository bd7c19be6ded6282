"""Pictures: decoding and encoding with their metadata, colour, sizes, contact sheets. Start at `picture`, `decode`."""
