"""Training on several processes: who starts the ranks, and what happens when one of them is lost."""
