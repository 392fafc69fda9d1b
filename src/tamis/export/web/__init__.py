"""A trained model as a static web page: it classifies in the browser, without a server.

    DIR/  index.html, style.css, page.js     the page
          normalizer.js, tokenizer.js        from a text to token ids, as tokenizer.json says
          classifier.js                      from token ids to a verdict, as predict.py of an export
          runtime/                           onnxruntime-web, and Oniguruma if the tokenizer has
                                             regular expressions
          data/                              model, tokenizer, description and WebAssembly, as
                                             scripts: a page that is opened as a file (file://) may
                                             load scripts, but no other files
          LICENSES.txt                       of the parts that others wrote

`export_web(exported, folder, runtime)` writes it from an exported ONNX folder.
"""
