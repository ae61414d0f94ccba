"""The engine: one base model in memory, every adapter beside it."""
