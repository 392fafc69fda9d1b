"""Pretraining of a GPT-2 on plain text, as a language model and, with a teacher, as a text
encoder.
"""
