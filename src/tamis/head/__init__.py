"""The linear head. Features of texts and their classes come in, fitted weights and out-of-fold
scores go out.
"""
