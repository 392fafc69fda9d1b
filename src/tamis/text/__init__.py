"""From strings to token ids: normalization, perturbation, tokenization and windows."""
