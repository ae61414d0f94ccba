"""How an agent improves itself: jobs, rollouts, rewards, updates, the gate."""
