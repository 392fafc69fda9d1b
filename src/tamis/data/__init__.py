"""Read, split, audit and deduplicate tables. Import the names from the modules."""
