"""From what shoppers did to what they like: events, a store that forgets, preference models, and their figures."""
