"""The memory worker: what agents know, under keys, in versions, and finding it again.

Consumes: the commands of the area `memory` (store_memory, forget_memory; as questions retrieve_memory, query_memories,
memory_history and get_heat_map; of its own tell_memory_updates and embed_memories).
Emits: memory_update, memory_forgotten; and the command spawn_sidebar, when two agents have written one memory at once.
Owns: memories, memory_versions; memory_embeddings and memory_embedder, where pgvector is.
"""
