"""The only door that pixels leave by. Start at `door`."""
