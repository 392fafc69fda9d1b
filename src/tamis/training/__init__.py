"""Training. A backbone, encoded texts and a recipe come in, a trained model with its held-out
scores goes out.
"""
