"""The command line: parse, call a task, print. Imports nothing heavy until a command runs."""
