"""Is all as it must be? What is wrong with settings, servers, models, workers, and what to do."""
