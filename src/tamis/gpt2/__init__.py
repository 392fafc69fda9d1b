"""GPT-2: the network, its packed batches, its tokenizer and its checkpoints."""
