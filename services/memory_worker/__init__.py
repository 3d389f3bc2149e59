"""The memory worker: what agents know, under keys, in versions, and finding it again.

Consumes: the commands of the area `memory` (store_memory; retrieve_memory and query_memories as questions).
Emits: memory_update.
Owns: memories, memory_versions.
"""
