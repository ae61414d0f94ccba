"""One personal agent, and the models behind it."""
