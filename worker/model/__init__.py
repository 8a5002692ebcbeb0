"""Model versions on disk, and texts to vectors; the worker's only place with torch."""
