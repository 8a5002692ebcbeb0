"""The model card: what a version is, where it comes from, what it can do."""
