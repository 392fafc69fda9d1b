"""OpenAI's checkpoint format, read into NumPy arrays without TensorFlow."""
