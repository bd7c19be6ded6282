"""What a shop asks for. A task is one function, request to result, and its pictures leave by `release/`."""
