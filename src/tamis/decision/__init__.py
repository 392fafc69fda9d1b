"""From logits to decisions. Held-out scores come in, a temperature, a threshold and the rule that
gives verdicts go out.
"""
