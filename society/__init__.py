"""Many agents, one question."""
