"""Pretraining: a GPT-2 from plain text, as a language model and, with a teacher, as an encoder of whole messages."""
