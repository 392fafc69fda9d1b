"""A GPT-2 classifier as an ONNX graph. `builder` writes nodes and weights, `network` the network.

`network` says what inputs and outputs mean; programs that run the graph need only their names.
"""

INPUTS = ("input_ids", "attention_mask")
OUTPUTS = ("logits", "embedding")
EMBEDDED = "embedded"
"""The first input of a graph without embedding tables."""
