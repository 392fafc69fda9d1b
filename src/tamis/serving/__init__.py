"""Serving: corrections kept on disk, models that learn from them, and the HTTP API."""
