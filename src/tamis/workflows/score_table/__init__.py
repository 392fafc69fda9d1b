"""`tamis score`: a table of any size, read, scored and written in parts."""
