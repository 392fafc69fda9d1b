"""Pretraining. Plain text comes in, a GPT-2 trained as a language model and, with a teacher, as an
encoder of messages goes out.
"""
