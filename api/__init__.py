"""Doors for people and programs: the HTTP API, its client, the command line, the supervisor."""
