"""One module per resource; each declares types, calls one room below, returns a schema."""
