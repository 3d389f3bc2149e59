"""What must arrive: acknowledgements, mentions, and no duplicates."""
