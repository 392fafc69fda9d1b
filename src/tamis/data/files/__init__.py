"""File formats, one reader per module: from the bytes of CSV, JSON Lines, Parquet or mail to rows
of cells or messages.
"""
