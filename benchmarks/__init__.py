"""One file per claim: prints its table, then `figure NAME VALUE TARGET` lines, and exits 1 when one falls short."""
