"""The live clients of a worker: who has one, who gets the next, and what they take."""
