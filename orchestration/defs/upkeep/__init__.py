"""Jobs over the whole graph and the care of the instance."""
