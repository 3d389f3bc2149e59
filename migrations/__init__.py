"""The database's history: one revision after another, each with its way back."""
