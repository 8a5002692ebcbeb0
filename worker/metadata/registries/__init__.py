"""The registries of DOIs, as they are asked over the network: politely, and one rule for each."""
