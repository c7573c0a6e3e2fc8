"""The contracts of all topics and everything derived from them."""
