"""How good a model is on held-out pairs, and whether it may replace another one."""
