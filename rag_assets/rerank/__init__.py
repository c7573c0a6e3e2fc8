"""The second stage of a search: what to measure of a candidate, and learned orders of candidates."""
