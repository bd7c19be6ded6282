"""Published generators that Packshot is measured against; README.md says what each one is and how to install it."""
