"""Learning from corrections, without a server: from corrected labels to a refitted linear head and
its history.
"""
