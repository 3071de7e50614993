"""Builds docs/demo.svg, the picture in the README, from what `sessionlog demo` prints on a terminal.

    python docs/build_demo_picture.py            write docs/demo.svg

It shows some of the demo's steps, as they are. Nothing in the picture is fetched when it is looked at: no fonts, no
links. Each run has other times and hashes. Needs rich, which the extra `cli` brings, and Linux or macOS.
"""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

PICTURE: Final = Path(__file__).resolve().parent / "demo.svg"
STEPS: Final = (1, 9, 10)
COLUMNS: Final = 96
FONTS: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_CHUNK_BYTES: Final = 65536


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(picture(screen()), encoding="utf-8")


def screen() -> str:
    """Return what the demo prints on a terminal, colours included; its progress bars are left out."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(COLUMNS), "LINES": "50", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "sessionlog", "demo"]
    demo = subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(theirs)
    parts: list[bytes] = []
    try:
        while part := os.read(ours, _CHUNK_BYTES):
            parts.append(part)
    except OSError:  # how Linux says that nobody has the terminal open any more
        pass
    os.close(ours)
    if demo.wait():
        raise SystemExit(f"{' '.join(command)} failed with status {demo.returncode}")
    return b"".join(parts).decode().replace("\r\n", "\n")


def picture(shown: str) -> str:
    """Return an SVG of the chosen steps in ``shown``."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    paragraphs = shown.split("\n\n")
    chosen = [one for number in STEPS for one in paragraphs if Text.from_ansi(one).plain.startswith(f"{number}. ")]
    assert len(chosen) == len(STEPS)
    for number, paragraph in enumerate(chosen):
        if number:
            console.print()
        for line in paragraph.splitlines():
            console.print(Text.from_ansi(line), soft_wrap=True)
    layout = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    layout = layout.replace("Fira Code, monospace", FONTS)
    layout = re.sub(r"<!--.*?-->", "", layout, flags=re.DOTALL)
    svg = console.export_svg(title="sessionlog demo", code_format=layout, unique_id="demo")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


if __name__ == "__main__":
    main()
