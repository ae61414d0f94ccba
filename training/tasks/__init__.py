"""Where training prompts come from."""
