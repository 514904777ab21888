"""Steps computed by several processes: who starts them, what they are told, and what becomes of one that fails."""
