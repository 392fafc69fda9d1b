"""OpenAI's own checkpoint format, read without TensorFlow. A checkpoint folder comes in, NumPy
arrays go out.
"""
