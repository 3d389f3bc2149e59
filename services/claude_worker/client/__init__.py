"""One Claude Code and what surrounds it: its process, its options, the conversation with it, what it remembers."""
