"""What is remembered in Redis: jobs, batches, leases, settlement; the only place with redis."""
