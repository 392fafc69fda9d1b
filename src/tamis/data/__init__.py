"""Tables in, split, audited and normalised. The names of each file are imported from that file."""
