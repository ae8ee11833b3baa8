"""Writing a report's files: ``report.html``, ``report.md`` with its charts, ``result.json``."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import orjson

from sculptor.evals.report.charts import Chart, charts_of
from sculptor.evals.report.tables import LEGEND, WORD_COLUMNS, Table, heading_of, tables_of
from sculptor.evals.runs.results import RunResult, result_json

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 1240px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem; font-size: 1.25rem; } h3 { font-size: 1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1rem; }
.charts svg { width: 100%; height: auto; border: 1px solid #ddd; border-radius: 4px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .5rem; text-align: right; }
td { white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child, .words { text-align: left; }
td.words { white-space: pre; } td.long { white-space: normal; min-width: 9.5rem; }
.note { border-left: 4px solid #c2410c; padding: .3rem .8rem; background: #fff7ed; }
"""


def write_report(
    results: Sequence[RunResult], folder: Path, *, title: str, preface: Sequence[str] = ()
) -> list[Path]:
    """Write the report of some runs into a folder and return the files."""
    charts = charts_of(results)
    folder.mkdir(parents=True, exist_ok=True)
    notes = [*preface, *dict.fromkeys(run.plan.note for run in results if run.plan.note)]
    value = {"title": title, "preface": notes, "runs": [result_json(run) for run in results]}
    files = {
        "report.html": _page(title, notes, results, charts),
        "report.md": _markdown(title, notes, results, charts),
        "result.json": orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n",
        **{f"{chart.name}.svg": chart.svg + "\n" for chart in charts},
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files]


def _page(
    title: str, notes: Sequence[str], results: Sequence[RunResult], charts: Sequence[Chart]
) -> str:
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="note">{_code(note)}</p>' for note in notes),
        f'<div class="charts">{"".join(chart.svg for chart in charts)}</div>',
    ]
    for run in results:
        parts.append(f"<h2>{escape(run.name)}</h2><p>{_code(heading_of(run))}</p>")
        for table in tables_of(run):
            parts.append(f"<h3>{escape(table.title)}</h3>{_html_table(table)}")
    return "\n".join([*parts, f"<p>{escape(LEGEND)}</p>", "</body></html>\n"])


def _html_table(table: Table) -> str:
    head = _html_cells("th", table.head, table)
    rows = "".join(f"<tr>{_html_cells('td', row, table)}</tr>" for row in table.rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _html_cells(tag: str, cells: Iterable[str], table: Table) -> str:
    """Return the cells of a row: words to the left, figures to the right, long ones may wrap."""
    kinds = ("words" if name in WORD_COLUMNS else "" for name in table.head)
    return "".join(
        f'<{tag} class="{kind or ("long" if "(" in cell else "figure")}">{escape(cell)}</{tag}>'
        for kind, cell in zip(kinds, cells, strict=True)
    )


def _code(text: str) -> str:
    """Return text as HTML, with what stands between backquotes as code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{p}</code>" if at % 2 else p for at, p in enumerate(pieces))


def _markdown(
    title: str, notes: Sequence[str], results: Sequence[RunResult], charts: Sequence[Chart]
) -> str:
    lines = [f"# {title}", "", *_spaced(notes)]
    lines += _spaced(f"![{chart.name}]({chart.name}.svg)" for chart in charts)
    for run in results:
        lines += [f"## {run.name}", "", heading_of(run), ""]
        for table in tables_of(run):
            lines += [f"### {table.title}", "", *_markdown_table(table), ""]
    return "\n".join([*lines, LEGEND, ""])


def _markdown_table(table: Table) -> list[str]:
    def line(cells: Iterable[str]) -> str:
        plain = (cell.replace("|", chr(92) + "|").replace("\n", ", ") for cell in cells)
        return f"| {' | '.join(plain)} |"

    rule = ["---", *("---" if name in WORD_COLUMNS else "---:" for name in table.head[1:])]
    return [line(table.head), line(rule), *(line(row) for row in table.rows)]


def _spaced(paragraphs: Iterable[str]) -> list[str]:
    return [line for paragraph in paragraphs for line in (paragraph, "")]
