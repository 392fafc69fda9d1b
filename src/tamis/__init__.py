"""tamis turns a GPT-2 language model into a text classifier on an ordinary machine."""
