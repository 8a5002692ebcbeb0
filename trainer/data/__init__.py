"""Labelled pairs, what is known of their DOIs, what is held out; kept in the data directory."""
