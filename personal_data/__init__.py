"""Everything one person owns, and where it is kept: settings, records, memory, profile, sharing."""
