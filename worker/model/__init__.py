"""Model versions on disk, and texts to vectors; the only place with torch."""
