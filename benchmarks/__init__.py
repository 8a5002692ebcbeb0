"""What the README claims of speed, and how to measure it again."""
