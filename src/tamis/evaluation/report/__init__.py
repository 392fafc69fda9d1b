"""The report of an evaluation. Figures come in, report.json, an HTML page, plots and a model card
go out.
"""
