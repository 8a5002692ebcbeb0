"""Where vectors are stored: one protocol, a Qdrant server or Qdrant Edge behind it."""
