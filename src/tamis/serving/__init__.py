"""The HTTP server: classification, explanations, and learning from corrections."""
