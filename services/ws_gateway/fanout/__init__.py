"""Who gets which event: the hub, the groups of those who want the same, and what they want."""
