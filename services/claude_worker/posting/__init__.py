"""Rooms of chat servers are told what they are owed."""
