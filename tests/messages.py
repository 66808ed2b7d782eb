"""Every message that bearerd can show, read from the syntax trees of the package, and from the scripts.

A message is any prose in the code: a text of two words or more, or whatever is given to a logger or an exception. What
is left out is told by where it stands (help, descriptions, SQL, what is printed when all went well) or is named in
`NOT_SHOWN` with the reason. So a message that is built in a helper, kept in a constant or passed through three calls is
found all the same. `python -m tests.messages` prints those that no page under `docs/troubleshooting` has.
"""

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from tests.messagerules import (
    ADVISED,
    BETWEEN,
    CALM_PAGES,
    DESCRIBED_BY,
    DESCRIBING,
    IMPERATIVE,
    LABELLED,
    LEFT_OUT,
    LOGGED,
    NAMED_FIRST,
    NEWS,
    NOT_SHOWN,
    NOT_SHOWN_TEXTS,
    REMEDY,
    SILENT,
    SPEAKING,
    STATEMENT,
    TECHNICAL,
    TOLD_WHEN_WELL,
    TROUBLED_PAGES,
    WORDS,
)

ROOT = Path(__file__).resolve().parent.parent
HOLE = "…"  # what stands for a value


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it reads, `…` for each value. `advice` is printed behind another one, and says what to do."""

    text: str
    place: str
    advice: bool = False


def messages(root: Path = ROOT) -> list[Message]:
    """All that is found, each text once, in the order of the files."""
    found: dict[str, Message] = {}
    for message in itertools.chain(_of_package(root / "proxy"), _of_pages(root), _of_scripts(root)):
        known = found.get(message.text)
        if known is None or (known.advice and not message.advice):
            found[message.text] = message
    return list(found.values())


def _of_package(package: Path) -> Iterator[Message]:
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package).as_posix()
        if not LEFT_OUT.match(name):
            yield from _File(name).read(parsed(file.read_text("utf-8")))


@cache
def parsed(text: str) -> ast.Module:
    """Each file is parsed once; nobody changes a tree."""
    return ast.parse(text)


def _of_pages(root: Path) -> Iterator[Message]:
    """Sentences of those of the console's pages that tell of trouble, and what its script says."""
    for path in sorted((root / "proxy" / "console").rglob("*.j2")):
        if path.name.partition(".")[0] not in TROUBLED_PAGES:
            continue
        text = re.sub(r"\{#.*?#\}", "", path.read_text("utf-8"), flags=re.DOTALL)
        text = re.sub(r"\{\{.*?\}\}", HOLE, re.sub(r"</?(code|b|strong|em|time)\b[^>]*>", "", text), flags=re.DOTALL)
        for piece in re.split(r"<[^>]*>|\{%.*?%\}", text, flags=re.DOTALL):
            words = squeezed(piece)
            if len(WORDS.findall(words)) > 3 and words.endswith("."):
                yield Message(words, path.relative_to(root).as_posix())
    for path in sorted((root / "proxy" / "console").rglob("*.js")):
        for text in re.findall(r"\"([^\"\n]+)\"", path.read_text("utf-8")):
            name = path.relative_to(root / "proxy").as_posix()
            if is_prose(text) and (name, squeezed(text)) not in NOT_SHOWN_TEXTS:
                yield Message(squeezed(text), f"proxy/{name}")


def _of_scripts(root: Path) -> Iterator[Message]:
    """What a shell says on stderr: `say`, `die`, `echo … >&2`; of Python's scripts, what they end with."""
    for path in sorted((root / "scripts").glob("*.py")):
        for node in ast.walk(parsed(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and last_name(node.func) == "exit"):
                for found in _File(path.name).read(
                    ast.Module([ast.Expr(node)] if isinstance(node, ast.Call) else [node], [])
                ):
                    yield replace(found, place=f"scripts/{path.name}:{node.lineno}")
    scripts = [path for folder in ("scripts", "deploy", ".ci") for path in sorted((root / folder).rglob("*"))]
    for path in [root / "Makefile", *scripts]:
        if not path.is_file() or path.suffix not in {"", ".sh"}:
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            for text in re.findall(r"\b(?:say|die) \"([^\"]+)\"", line) + re.findall(r"echo \"([^\"]+)\" >&2", line):
                words = squeezed(re.sub(r"\$\$?(\w+|\*|\{[^}]*\})", HOLE, text))
                if WORDS.search(words):
                    yield Message(words, f"{path.relative_to(root)}:{number}")


def squeezed(text: str) -> str:
    """One line, holes that stand side by side as one."""
    return re.sub(f"{HOLE}+", HOLE, " ".join(text.split()))


def patterns(node: ast.AST) -> list[str]:
    """How the text of an expression can read; empty for what is no text."""
    match node:
        case ast.Constant(value=str(text)):
            return [re.sub(r"\{[a-z_]+(:[^\s}]*)?\}", HOLE, text)]
        case ast.JoinedStr(values=values):
            parts = [[str(part.value)] if isinstance(part, ast.Constant) else _hole(part) for part in values]
            if len(choices := list(itertools.islice(itertools.product(*parts), 9))) <= 8:
                return ["".join(choice) for choice in choices]
            return ["".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in values)]
        case ast.IfExp(body=body, orelse=orelse):
            return [*patterns(body), *patterns(orelse)]
        case ast.BinOp(left=left, op=ast.Add(), right=right) if patterns(left) or patterns(right):
            return [a + b for a in patterns(left) or [HOLE] for b in patterns(right) or [HOLE]]
    return []


def _hole(part: ast.AST) -> list[str]:
    value = part.value if isinstance(part, ast.FormattedValue) else part
    if isinstance(value, ast.IfExp):
        choices = [found for branch in (value.body, value.orelse) for found in patterns(branch) or [HOLE]]
        if any(choice != HOLE for choice in choices):
            return choices
    return [HOLE]


def is_prose(text: str) -> bool:
    """Two words or more, that are no statement for a database and no header."""
    if STATEMENT.match(text) or TECHNICAL.match(text):
        return False
    return len(WORDS.findall(text)) > 1 and bool(BETWEEN.search(text))


class _File:
    """The messages of one file. `_around` is what a node stands in: functions, classes, calls and keywords."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._around: list[str] = []

    def read(self, tree: ast.Module) -> list[Message]:
        return list(self._walk(tree, advice=False, certain=False))

    def _walk(self, node: ast.AST, *, advice: bool, certain: bool) -> Iterator[Message]:
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from self._block(node)
        elif isinstance(node, ast.Call):
            yield from self._call(node, advice=advice)
        elif found := patterns(node):
            yield from self._told(node, found, advice=advice, certain=certain)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from self._assigned(node, advice=advice)
        elif isinstance(node, ast.Tuple):
            told = 0
            for element in node.elts:
                yield from self._walk(element, advice=advice or told > 0, certain=False)
                told += any(is_prose(text) and (self._name, text) not in NOT_SHOWN_TEXTS for text in patterns(element))
        else:
            for child in ast.iter_child_nodes(node):
                yield from self._walk(child, advice=advice, certain=False)

    def _assigned(self, node: ast.Assign | ast.AnnAssign, *, advice: bool) -> Iterator[Message]:
        names = [ast.unparse(each) for each in (node.targets if isinstance(node, ast.Assign) else [node.target])]
        if node.value is None or any((self._name, name) in NOT_SHOWN for name in names):
            return
        # `detail, fix = …` is a tuple, of which the second says what to do.
        advice = advice or any(REMEDY.search(name) and "," not in name for name in names)
        yield from self._walk(node.value, advice=advice, certain=False)

    def _block(self, node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[Message]:
        name = getattr(node, "name", "*")
        if name == "__repr__" or (self._name, name) in NOT_SHOWN:
            return
        children = [*getattr(node, "decorator_list", ()), *node.body]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            children = [*node.args.defaults, *(each for each in node.args.kw_defaults if each), *children]
        advice = name in {"fix", "_fix", "_remedy"}
        for child in children:
            if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
                yield from self._walk(child, advice=advice, certain=False)

    def _call(self, node: ast.Call, *, advice: bool) -> Iterator[Message]:
        name = last_name(node.func)
        yield from self._walk(node.func, advice=advice, certain=False)
        if name in DESCRIBED_BY:
            return
        told = 0  # texts so far: of two, the second says what to do
        certain = name in SPEAKING or is_log(node)
        for place, argument in enumerate(node.args):
            if place < LABELLED.get(name, 0):
                continue
            found = patterns(argument)
            second = name in ADVISED and told > 0
            told += any(map(is_prose, found))
            if not _is_news(node, found):
                first = place == (name in NAMED_FIRST)
                yield from self._walk(argument, advice=advice or second, certain=certain and first)
        for keyword in node.keywords:
            if keyword.arg not in DESCRIBING:
                yield from self._walk(keyword.value, advice=advice or keyword.arg == "fix", certain=False)

    def _told(self, node: ast.AST, found: list[str], *, advice: bool, certain: bool) -> Iterator[Message]:
        for text in map(squeezed, found):
            second = advice or bool(IMPERATIVE.match(text))
            if (is_prose(text) or (certain and re.search("[a-z]", text))) and (self._name, text) not in NOT_SHOWN_TEXTS:
                yield Message(text, f"proxy/{self._name}:{getattr(node, 'lineno', 1)}", second)
        for inner in ast.walk(node):  # a text in a call in a hole of this one
            if isinstance(inner, ast.FormattedValue) and not isinstance(inner.value, ast.IfExp | ast.Name):
                yield from self._walk(inner.value, advice=advice, certain=False)


def _is_news(call: ast.Call, told: list[str]) -> bool:
    """All went well, or it is about to; what begins with `!` or `✗` did not."""
    if last_name(call.func) == "Finding" and "GOOD" in map(ast.unparse, call.args):
        return True
    if not (is_log(call) and last_name(call.func) in NEWS) and ast.unparse(call.func) not in TOLD_WHEN_WELL:
        return False
    return not any(text.lstrip().startswith(("!", "✗")) for text in told)


def last_name(node: ast.AST) -> str:
    """`a.b(c).d` → `d`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_log(call: ast.Call) -> bool:
    """Whether it writes to the log: `log.error(…)`, `logs.get("x").error(…)`."""
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in LOGGED:
        return False
    return "log" in ast.unparse(function.value).lower()


def puzzles(package: Path) -> Iterator[str]:
    """What this module does not understand: an exception nobody has placed, an event of the log that is no literal."""
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package).as_posix()
        if LEFT_OUT.match(name):
            continue
        tree = parsed(file.read_text("utf-8"))
        for node in ast.walk(tree):
            place = f"proxy/{name}:{getattr(node, 'lineno', 1)}"
            if isinstance(node, ast.ClassDef) and _is_exception(node) and node.name not in SPEAKING | SILENT:
                yield f"{place}: put {node.name} into SPEAKING or SILENT of tests/messagerules.py"
            if isinstance(node, ast.Call) and last_name(node.func) in SILENT and any(map(patterns, node.args)):
                yield f"{place}: {last_name(node.func)} is said to carry no text"
            if isinstance(node, ast.Call) and is_log(node) and node.args and not _is_told(node.args[0]):
                yield f"{place}: the event of the log is neither a text nor a constant's name"
            if _is_assembled(node):
                yield f"{place}: write the message as an f-string, so that it can be read here"


def unplaced_pages(root: Path = ROOT) -> Iterator[str]:
    """Pages of the console of which nobody has said whether they tell of trouble."""
    for path in sorted((root / "proxy" / "console").rglob("*.j2")):
        if path.name.partition(".")[0] not in TROUBLED_PAGES | CALM_PAGES:
            yield f"{path.name}: put it into TROUBLED_PAGES or CALM_PAGES of tests/messagerules.py"


def _is_exception(node: ast.ClassDef) -> bool:
    names = {last_name(each) for each in node.bases}
    return bool(names & (SPEAKING | SILENT)) or any(name.endswith(("Error", "Exception")) for name in names)


def _is_told(node: ast.AST) -> bool:
    """A text, a choice between texts, or a name: what it holds is found where it is made."""
    return bool(patterns(node)) or isinstance(node, ast.Name | ast.Attribute)


def _is_assembled(node: ast.AST) -> bool:
    """`"… %s" % x` as a message."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and any(map(is_prose, patterns(node.left)))


def covered(root: Path = ROOT) -> dict[str, list[str]]:
    """Every text that has an entry, with its pages: the code spans that a list item begins with, ` / ` between them."""
    found: dict[str, list[str]] = {}
    for page in pages(root):
        for item in re.findall(r"^- (.+(?:\n  .+)*)", page.read_text("utf-8"), re.MULTILINE):
            for text in _entries(item):
                found.setdefault(text, []).append(page.name)
    return found


def _entries(item: str) -> Iterator[str]:
    rest = item
    while span := re.match(r"(`+)(.+?)(?<!`)\1(?!`)(?: ?/\s+)?", rest, re.DOTALL):
        yield squeezed(span[2])
        rest = rest[span.end() :] if span[0].rstrip().endswith("/") else ""


def pages(root: Path = ROOT) -> list[Path]:
    """The pages of entries; `docs/troubleshooting.md` is the way to them."""
    return sorted((root / "docs" / "troubleshooting").glob("*.md"))


if __name__ == "__main__":
    known = covered()
    for message in messages():
        if message.text not in known and not message.advice:
            print(f"{message.place}: {message.text}")
