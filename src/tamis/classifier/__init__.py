"""The classifier that users hold. Texts and labels come in, labels, probabilities and a model
folder go out.
"""
