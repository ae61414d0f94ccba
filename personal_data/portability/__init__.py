"""Taking all of one's data along, and bringing it in elsewhere."""
