"""From a partition to an answer: whose partitions are whose, the lanes of their rooms, one attempt at a turn."""
