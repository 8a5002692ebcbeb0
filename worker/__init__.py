"""Everything between Redis and Qdrant."""
