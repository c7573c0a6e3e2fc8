"""Documents, and the index that answers from them."""
