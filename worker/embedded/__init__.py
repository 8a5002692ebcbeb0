"""The default without servers: a private Redis, and a worker, for as long as they are needed."""
