"""Workflows: what a command does, from files to files. Paths and a recipe come in, run folders,
reports and result rows go out.
"""
