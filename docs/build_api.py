"""Builds docs/api.md, the API reference, from the signatures and docstrings under src/.

    python docs/build_api.py            write docs/api.md
    python docs/build_api.py --check    write nothing; exit 1 when docs/api.md is out of date

The sources are read, not imported, so that the page depends on nothing but their text. The page holds every name in the
`__all__` of `sessionlog` and of `MODULES`, by the subjects of `SECTIONS` and in the order of the source. A public name
without a docstring is an error, and so is one that no section has a place for.
"""

import argparse
import difflib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
COMMAND = "python docs/build_api.py"

FORMAT_PAGE = ROOT / "docs" / "format.md"

FACADE = "sessionlog"
MODULES = (
    "sessionlog.audit",
    "sessionlog.blocking",
    "sessionlog.cancellation",
    "sessionlog.catalog",
    "sessionlog.chain",
    "sessionlog.evidence",
    "sessionlog.loops",
    "sessionlog.owner",
    "sessionlog.queries",
    "sessionlog.store",
    "sessionlog.exporters",
    "sessionlog.importers",
    "sessionlog.importers.claude_code",
    "sessionlog.importers.codex",
    "sessionlog.importers.pi",
    "sessionlog.readings",
    "sessionlog.adapters.claude_agent_sdk",
    "sessionlog.adapters.eventsourcing",
    "sessionlog.adapters.langgraph",
    "sessionlog.adapters.openai_agents",
    "sessionlog.adapters.pydantic_ai",
    "sessionlog.adapters.strands",
    "sessionlog.testing.conformance",
    "sessionlog.testing.faults",
)
"""Public modules whose names the facade does not all re-export."""

SECTIONS = {
    "Sessions": (
        "sessionlog.session",
        "sessionlog.session.start",
        "sessionlog.session.log",
        "sessionlog.session.verbs",
        "sessionlog.session.restoring",
        "sessionlog.session.domain_log",
        "sessionlog.session.domains",
    ),
    "Deletion": ("sessionlog.session.deleting", "sessionlog.receipts"),
    "State": ("sessionlog.state",),
    "Stores": ("sessionlog.store", "sessionlog.stores"),
    "Outlasting cancellation": ("sessionlog.cancellation", "sessionlog.event_loop"),
    "The owner of a store": ("sessionlog.owner",),
    "Audits": ("sessionlog.audit",),
    "Loops": ("sessionlog.loops",),
    "Search, statistics, differences": ("sessionlog.queries",),
    "The catalog": ("sessionlog.catalog",),
    "Synchronous code": ("sessionlog.blocking",),
    "Evidence": ("sessionlog.evidence",),
    "Exporting": ("sessionlog.exporters",),
    "Errors": ("sessionlog.errors",),
    "Entries": ("sessionlog.entries",),
    "Items": ("sessionlog.items",),
    "Records and the chain": ("sessionlog.chain", "sessionlog.scanner", "sessionlog.binding", "sessionlog.record"),
    "Identity": ("sessionlog.ids",),
    "Importing transcripts": ("sessionlog.importers",),
    "In a framework": ("sessionlog.adapters", "sessionlog.readings"),
    "Testing a store": ("sessionlog.testing.conformance",),
    "Injecting faults": ("sessionlog.testing.faults",),
}
"""What the page is divided into: a title, and the modules (with those below them) that its names are written in."""

WIDTH_MAX = 100
"""Signatures longer than this are broken, one parameter a line."""

SHOWN_KEYWORDS = ("frozen", "kw_only", "tag")
"""Of a struct's settings, those that a caller or a reader of logs meets."""

Shown = griffe.Class | griffe.Function | griffe.Attribute


def main() -> int:
    """Build the page, or check it; the result is the exit status."""
    parser = argparse.ArgumentParser(description="Build docs/api.md from the docstrings.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is out of date")
    check: bool = parser.parse_args().check
    try:
        page = build()
    except UndocumentedError as error:
        print(f"docs/build_api.py: public, but without a docstring: {error}", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    found = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    sides = (found.splitlines(), page.splitlines())
    diff = list(difflib.unified_diff(*sides, "docs/api.md", "built now", lineterm="", n=0))
    if diff:
        print("\n".join(diff[:40]), f"docs/api.md is out of date; run: {COMMAND}", sep="\n", file=sys.stderr)
    return 1 if diff else 0


def build() -> str:
    """Render the whole page."""
    package = griffe.load(FACADE, search_paths=[str(ROOT / "src")], docstring_parser="google")
    assert isinstance(package, griffe.Module)
    names = collect(package)
    undocumented = [public.shown.path for public in names if not public.shown.has_docstring]
    if undocumented:
        raise UndocumentedError(", ".join(undocumented))
    body: list[str] = []
    for title, paths in SECTIONS.items():
        body += ["", f"## {title}", "", *prose(module_of(package, paths[0]))]
        found = sorted((public for public in names if public.is_in(paths)), key=lambda public: public.order(paths))
        origins = {public.path for public in found}
        if FACADE not in origins and len(origins) == 1:
            body += ["", f"Imported from `{found[0].path}`."]
        for public in found:
            body += ["", f"### `{public.name}`", "", *render(public.name, public.shown)]
            if public.path != FACADE and len(origins) > 1:
                body += ["", f"Imported from `{public.path}`."]
    origin = f"<!-- Built by `{COMMAND}` from the docstrings; do not edit. -->"
    head = ["# API reference", "", origin, *prose(package), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join([*head, *contents(body), *body])).rstrip() + "\n"


def contents(body: list[str]) -> Iterator[str]:
    """List the headings as links, with the anchors that Markdown renderers give them (a repeated one gets a number)."""
    anchors: Counter[str] = Counter()
    links: list[str] = []
    for line in body:
        match = re.fullmatch(r"(#{2,4}) (.+)", line)
        if match is None:
            continue
        anchor = anchor_of(match[2])
        link = f"[{match[2]}](#{anchor}{f'-{anchors[anchor]}' if anchors[anchor] else ''})"
        anchors[anchor] += 1
        if match[1] == "##" and links:
            yield from (", ".join(links), "")
            links = []
        if match[1] == "##":
            yield from (f"**{link}**", "")
        elif match[1] == "###":
            links.append(link)
    yield ", ".join(links)


def anchor_of(heading: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@dataclass(frozen=True)
class Public:
    """A public name, the module that it is imported from, and what it stands for."""

    name: str
    path: str
    shown: Shown

    def is_in(self, paths: Sequence[str]) -> bool:
        """Tell whether it is written in one of the modules ``paths``, or below."""
        return self._place(paths) is not None

    def order(self, paths: Sequence[str]) -> tuple[int, str, int]:
        """Return where it comes: by its place in ``paths``, its module, its line."""
        return self._place(paths) or 0, self.shown.module.path, self.shown.lineno or 0

    def _place(self, paths: Sequence[str]) -> int | None:
        written_in = self.shown.module.path
        fitting = [n for n, path in enumerate(paths) if f"{written_in}.".startswith(f"{path}.")]
        return max(fitting, key=lambda n: len(paths[n]), default=None)


def collect(package: griffe.Module) -> list[Public]:
    """Find every public name, each once, with the facade as where it is imported from if that has it."""
    names: list[Public] = []
    seen: set[str] = set()
    for path in (FACADE, *MODULES):
        module = module_of(package, path)
        for name in map(str, module.exports or ()):
            target = module[name]
            target = target.final_target if isinstance(target, griffe.Alias) else target
            if isinstance(target, Shown) and target.path not in seen:
                seen.add(target.path)
                names.append(Public(name, path, target))
    everywhere = [path for paths in SECTIONS.values() for path in paths]
    lost = [public.shown.path for public in names if not public.is_in(everywhere)]
    assert not lost, f"SECTIONS has no place for {lost}"
    return names


def module_of(package: griffe.Module, path: str) -> griffe.Module:
    """Find a module of the package by its dotted path."""
    module = package if path == FACADE else package[path.removeprefix(f"{FACADE}.")]
    assert isinstance(module, griffe.Module), path
    return module


def render(name: str, shown: Shown) -> Iterator[str]:
    """Render one public name: its signature, its docstring and, of a class, its members."""
    if isinstance(shown, griffe.Class):
        yield from render_class(name, shown)
    elif isinstance(shown, griffe.Function):
        yield from code(signature(shown, name))
        yield from prose(shown)
    else:
        yield from code(f"{name} = {shown.value}" if shown.value is not None else f"{name}: {shown.annotation}")
        yield from prose(shown)


def render_class(name: str, shown: griffe.Class) -> Iterator[str]:
    """Render a class: its fields, properties and constructor as a class body, then each method."""
    members = public_members(shown)
    fields = [member for member in members if isinstance(member, griffe.Attribute)]
    init = shown.members.get("__init__")
    body = [declaration(field) for field in fields]
    if isinstance(init, griffe.Function):
        body.append(signature(init, "__init__"))
    bases = [str(base) for base in shown.bases if not is_private(str(base))]
    bases += [f"{key}={value}" for key, value in shown.keywords.items() if key in SHOWN_KEYWORDS]
    head = f"class {name}({', '.join(bases)}):" if bases else f"class {name}:"
    yield from code("\n".join([head, *("    " + line for part in body or ["..."] for line in part.split("\n"))]))
    yield from prose(shown)
    yield ""
    yield from (bullet(f"`{field.name}`", field.docstring.value) for field in fields if field.docstring)
    for method in members:
        if isinstance(method, griffe.Function):
            yield from ("", f"#### `{name}.{method.name}`", "")
            yield from code(signature(method, method.name))
            yield from prose(method)


def public_members(shown: griffe.Class) -> list[griffe.Object]:
    """List methods and declared attributes in the order of the source, those of private bases first."""
    is_enum = any(str(base).endswith("Enum") for base in shown.bases)
    owners = [*(base for base in reversed(shown.mro()) if is_private(base.name)), shown]
    members = {name: member for owner in owners for name, member in owner.members.items() if not is_private(name)}
    return [
        member
        for member in members.values()
        if isinstance(member, griffe.Function)
        or (isinstance(member, griffe.Attribute) and (member.annotation is not None or member.docstring or is_enum))
    ]


def is_private(path: str) -> bool:
    """Tell a private name, or a path whose last part is one."""
    return path.rpartition(".")[2].startswith("_")


def declaration(field: griffe.Attribute) -> str:
    """Write a field or a property as a class body declares it."""
    annotation = f": {field.annotation}" if field.annotation is not None else ""
    has_default = field.value is not None and "class-attribute" in field.labels
    return f"{field.name}{annotation}" + (f" = {field.value}" if has_default else "")


def signature(function: griffe.Function, name: str) -> str:
    """Write a function's head, `async` and decorators included, on one line where it fits."""
    marks = [f"@{mark}\n" for mark in ("staticmethod", "classmethod", "abstractmethod") if mark in function.labels]
    head = "".join(marks) + ("async def " if "async" in function.labels else "def ") + name
    result = f" -> {function.annotation}" if function.annotation is not None else ""
    parameters = list(parameter_texts(function))
    line = f"{head}({', '.join(parameters)}){result}"
    if len(line) <= WIDTH_MAX:
        return line
    return "\n".join([f"{head}(", *(f"    {parameter}," for parameter in parameters), f"){result}"])


def parameter_texts(function: griffe.Function) -> Iterator[str]:
    """Write each parameter as its definition does, `self` and `cls` left out, the bare `*` and `/` included."""
    kinds = griffe.ParameterKind
    stars = {kinds.var_positional: "*", kinds.var_keyword: "**"}
    before: griffe.ParameterKind | None = None
    for index, parameter in enumerate(function.parameters):
        if before is kinds.positional_only and parameter.kind is not before:
            yield "/"
        if parameter.kind is kinds.keyword_only and before not in {kinds.keyword_only, kinds.var_positional}:
            yield "*"
        before = parameter.kind
        if index == 0 and parameter.name in {"self", "cls"}:
            continue
        text = stars.get(parameter.kind, "") + parameter.name
        if parameter.annotation is not None:
            text += f": {parameter.annotation}"
        if parameter.default is not None and parameter.kind not in stars:
            text += f" = {parameter.default}" if parameter.annotation is not None else f"={parameter.default}"
        yield text
    if before is kinds.positional_only:
        yield "/"


def prose(shown: griffe.Object) -> Iterator[str]:
    """Render a docstring: its text as it stands, its Google-style sections as lists."""
    for part in shown.docstring.parsed if shown.docstring else ():
        yield ""
        match part:
            case griffe.DocstringSectionText():
                yield plain(part.value)
            case griffe.DocstringSectionAdmonition():
                yield f"**{part.title or part.value.kind}:** {plain(part.value.contents)}"
            case griffe.DocstringSectionExamples():
                for kind, text in part.value:
                    yield from ([plain(text), ""] if kind is griffe.DocstringSectionKind.text else code(text))
            case griffe.DocstringSectionReturns() | griffe.DocstringSectionYields():
                yield f"{part.kind.value.capitalize()}:"
                yield ""
                yield from (bullet("", item.description) for item in part.value)
            case griffe.DocstringSectionRaises():
                yield from items("Raises", ((str(item.annotation), item.description) for item in part.value))
            case griffe.DocstringSectionParameters() | griffe.DocstringSectionAttributes():
                yield from items(part.kind.value.capitalize(), ((item.name, item.description) for item in part.value))
            case _:
                raise NotImplementedError(f"{shown.path}: docstring section {part.kind}")


def items(title: str, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Render a docstring's section of named things."""
    yield f"{title}:"
    yield ""
    yield from (bullet(f"`{name}`", text) for name, text in pairs)


def bullet(label: str, text: str) -> str:
    """Render one item of a list."""
    return f"- {label}{': ' if label else ''}" + plain(text).replace("\n", "\n  ")


def plain(text: str) -> str:
    """Turn what docstrings borrow from reStructuredText, double back-quotes and roles, into Markdown's code spans."""
    text = re.sub(r":[a-z]+:`~?([^`]+)`|``([^`]+)``", lambda match: f"`{match[1] or match[2]}`", text.strip())
    return re.sub(r"FORMAT sections? (\d+)(?:(?:, | and | to )\d+)*", format_link, text)


def format_link(match: re.Match[str]) -> str:
    """Link a mention of the format's sections to the page that restates them under the same numbers."""
    headings = re.findall(r"^## (\d+)(\..+)$", FORMAT_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {number: anchor_of(number + title) for number, title in headings}
    return f"[{match[0].replace('FORMAT', 'format', 1)}](format.md#{anchors[match[1]]})"


def code(text: str) -> list[str]:
    """Fence a piece of Python."""
    return ["```python", text, "```", ""]


class UndocumentedError(Exception):
    """Public names have no docstring."""


if __name__ == "__main__":
    sys.exit(main())
