"""Feedback: learning from corrections, without a server. Corrected labels come in, a changed linear
head and its history go out.
"""
