"""Reports: one page of HTML that needs nothing else, Markdown with its plots, figures as JSON."""

from sculptor.evals.report.writing import write_report

__all__ = ["write_report"]
