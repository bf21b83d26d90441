"""What the teacher gets of the notebooks handed in: a table, and a page to look at."""

import csv
from pathlib import Path
from typing import NamedTuple

from jinja2 import Template

PAGE = Template(
    """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { border: 1px solid #999; padding: .2em .6em }
.wide { overflow-x: auto } pre { background: #f4f4f4; padding: .6em; white-space: pre-wrap }
.right { background: #d9f0d9 } .wrong { background: #fff1c4 } .broken { background: #f8d4d4 }
</style>
<h1>{{ title }}</h1>
<p>{{ graded | length }} handed in.{% for state, count in counts %} {{ state }}: {{ count }}.
{%- endfor %} Below the table is each answer that is wrong or broken, with what was said to it.</p>
<div class="wide"><table><tr>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for name in columns %}<td class="{{ row[name] }}">{{ row[name] }}</td>
{%- endfor %}</tr>
{% endfor %}</table></div>
{% for each in graded %}{% if each.problem or each.not_right() %}<h2>{{ each.hand_in.student }}</h2>
<p>{{ each.hand_in.file }}{% if each.problem %}: {{ each.problem }}{% endif %}</p>
{% for name, verdict, source in each.not_right() %}<h3>{{ name }}: {{ verdict.state }}</h3>
<pre>{{ source }}</pre><pre class="{{ verdict.state }}">{{ verdict.text }}</pre>
{% endfor %}{% endif %}{% endfor %}</html>
""",
    autoescape=True,
)
STATES = "right", "wrong", "not attempted", "broken"


class HandIn(NamedTuple):
    """A file that a student handed in, and the code of its cells; `problem`: why there is none."""

    student: str
    file: str
    topic: str
    cells: list[str]
    problem: str = ""


class Verdict(NamedTuple):
    """What is found about an answer, one of `STATES`, and what there is to say."""

    state: str
    text: str


class Graded(NamedTuple):
    """A file with the verdicts on its exercises, and what went wrong with it as a whole."""

    hand_in: HandIn
    verdicts: dict[int, Verdict]
    problem: str

    def row(self) -> dict[str, str]:
        """What stands in the table."""
        states = {f"{self.hand_in.topic}.{k}": v.state for k, v in self.verdicts.items()}
        right = str([*states.values()].count("right"))
        return {"student": self.hand_in.student, "file": self.hand_in.file, **states} | {
            "right": right,
            "problem": self.problem,
        }

    def not_right(self) -> list[tuple[str, Verdict, str]]:
        """Each wrong or broken answer: its exercise, the verdict, the student's cells."""
        found = []
        for k, verdict in self.verdicts.items():
            name = f"{self.hand_in.topic}.{k}"
            if verdict.state in ("wrong", "broken"):
                quoted = f'"{name}"', f"'{name}'"
                cells = [cell for cell in self.hand_in.cells if any(q in cell for q in quoted)]
                found.append((name, verdict, "\n\n".join(cells)[:5000]))
        return found


def write_report(graded: list[Graded], folder: Path) -> None:
    """Write grades.csv, a row a file and a column an exercise, and report.html."""
    rows = [each.row() for each in graded]
    exercises = dict.fromkeys(name for row in rows for name in row if "." in name)
    columns = ["student", "file", *exercises, "right", "problem"]
    for each, row in zip(graded, rows, strict=True):
        if not each.verdicts:  # which notebook it should have been, nobody knows
            row |= dict.fromkeys(exercises, "broken")
    rows = [{name: row.get(name, "") for name in columns} for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    # With a mark that tells spreadsheets of the encoding; a name must not become a formula.
    options = {"encoding": "utf-8-sig", "errors": "backslashreplace", "newline": ""}
    with (folder / "grades.csv").open("w", **options) as file:
        table = csv.writer(file)
        table.writerow(columns)
        for row in rows:
            table.writerow("'" + t if t.startswith(tuple("=+-@\t\r")) else t for t in row.values())
    states = [verdict.state for each in graded for verdict in each.verdicts.values()]
    text = PAGE.render(
        title=folder.name,
        graded=graded,
        rows=rows,
        columns=columns,
        counts=[(state, states.count(state)) for state in STATES],
    )
    (folder / "report.html").write_text(text, "utf-8", "backslashreplace")
