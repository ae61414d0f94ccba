"""One file per reward method; the registry is one explicit dict in registry.py."""
