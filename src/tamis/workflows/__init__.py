"""Workflows: what each command does, from input files to output files."""
