"""The settings: a slice for each part, read from the environment in one place."""
