"""Lead every link to the repository under its present name: python -m tools.links.

The name stands in pyproject.toml; one that is given as REPOSITORY is written there too. A link
under an older name is known by the Binder and nbgitpuller links, which all lead to this course.
"""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = r"(?:mybinder\.org/v2/gh|git-pull\?repo=https://github\.com)/([\w.-]+/[\w.-]+?)[/&]"


def main() -> int:
    """Bring the links in line; 0 if they are, 1 if the name is none of a repository."""
    places = ["*.*", "[a-z]*/*.*", "tests/fast/fixtures/*.*"]  # the last holds a notebook, too
    files = [path for place in places for path in ROOT.glob(place)]
    texts = {p: p.read_bytes().decode() for p in files if p.suffix in {".toml", ".md", ".ipynb"}}
    field = r'(?m)^Repository = "(?:https://github\.com/)?(.*)"'
    [present] = re.findall(field, texts[ROOT / "pyproject.toml"])
    repository = os.environ.get("REPOSITORY") or present
    if not re.fullmatch(r"[A-Za-z0-9-]+/(?!\.+$)[A-Za-z0-9._-]+(?<!\.git)", repository):
        expected = "expected OWNER/NAME, as in REPOSITORY=you/your-fork"
        print(f"REPOSITORY: {expected}, got {repository}; nothing is changed", file=sys.stderr)
        return 1
    old = {present}.union(*(re.findall(HERE, text) for text in texts.values()))
    names = "|".join(map(re.escape, old))
    for path, text in texts.items():
        new = re.sub(field, f'Repository = "https://github.com/{repository}"', text)
        link = rf"(github\.com/|/gh/|/github/|codespaces\.new/)(?:{names})(?![\w-]|\.(?!git\b)\w)"
        new = re.sub(link, rf"\g<1>{repository}", new)
        # nbgitpuller's copy lies in a folder of the repository's name.
        folder = r"""(git-pull\?repo=[^\s"'`)\\]+?lab/tree/)[\w.-]+"""
        new = re.sub(folder, rf"\g<1>{repository.split('/')[1]}", new)
        if new != text:
            path.write_bytes(new.encode())
            print(path.relative_to(ROOT))
    print(f"Links lead to {repository}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
