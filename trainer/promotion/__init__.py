"""Making a version live, going back, and removing old ones."""
