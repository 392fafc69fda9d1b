"""Trained models for other programs, and the classifier that runs them without torch.

An exported folder (`export_onnx`, command `tamis export RUN --to onnx -o DIR`):

    DIR/  model.onnx      (input_ids, attention_mask) -> (logits, embedding); see gpt2/onnx/network
          model.onnx.data weights, where they exceed 2 GiB
          tokenizer.json  normalizer, vocabulary and the leading token, for `tokenizers`
          tamis.json      what a verdict needs beside the logits: `ModelDescription.to_dict()`, and
                          `files`, the SHA-256 of the other files
          predict.py      classifies texts with onnxruntime, tokenizers and numpy alone

model.onnx also contains the description: its metadata entry `tamis` is the JSON of
`ModelDescription.to_dict()`. From token ids to a verdict:

1. Encode the text with tokenizer.json; a special token spelled out in a text is text
   (`encode_special_tokens`). `dropped_id` is removed from the end, though never the only id. A
   text without tokens is the one id `empty_id`.
2. Cut more than `windows.context` ids into windows (`ModelDescription.windows`).
3. Every id of a window counts: attention_mask is 1 for each, also for ids that the tokenizer added
   as padding, and 0 only for what fills up the rows of a batch.
4. Aggregate the logits of the windows, apply softmax (with `rule.multi_label` the sigmoid of
   each), then `rule`. Temperature and bias of the calibration are part of the logits.

Python API: `export_onnx(classifier, folder, options)` writes the folder, `ModelDescription.read`
reads its description, `load_classifier(run)` returns a classifier for an exported folder
(`OnnxClassifier`) or for a run (`TextClassifier`); both have the same methods for predictions.
"""
