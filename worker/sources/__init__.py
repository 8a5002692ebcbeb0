"""People's files and streams, as records: opened, decoded, cut, cleaned."""
