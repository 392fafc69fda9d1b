"""The report of an evaluation: report.json, the HTML report, plots and the model card."""
