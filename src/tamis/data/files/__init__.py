"""File formats, one reader each. Bytes of CSV, JSON Lines, Parquet or mail come in, rows of cells
or messages go out.
"""
