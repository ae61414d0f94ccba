"""One file per format: each turns a person's own file into texts to remember."""
