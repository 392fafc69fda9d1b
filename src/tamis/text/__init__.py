"""From strings to token ids. Texts come in, normalised, perturbed or cut into windows of token ids
they go out.
"""
