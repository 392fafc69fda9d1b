"""Pretraining of a GPT-2 on plain text, as a language model and optionally a text encoder."""
