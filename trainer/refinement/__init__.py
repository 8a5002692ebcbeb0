"""Refine, from new pairs to a better live model, and who asks for it when."""
