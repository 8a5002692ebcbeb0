"""From a recipe and pairs to a registered version."""
