"""Index builds: the store contract, its two engines, building, verification, alias and live swap."""
