"""The commands behind `folkmoot`, by what they are for; each is a client of the HTTP API and imports nothing heavy."""
