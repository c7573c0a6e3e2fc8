"""How good retrieval is on questions whose right documents are known."""
