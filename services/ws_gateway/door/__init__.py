"""The way in: addresses, floods, tokens, seats, resumption, and what is written down of it."""
