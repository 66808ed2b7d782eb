"""Changes the code that decides, one small fault at a time, and counts how many of them the tests notice.

    python tests/mutants.py                 every file of `FILES`; exit 1 below the bar
    python tests/mutants.py gate/target.py  these only, with a line for each fault that nobody noticed
    python tests/mutants.py --sample 40     so many faults of each file, evenly spread

A fault is one comparison, constant, operator, condition or statement changed in the syntax tree. Sentences for people
are left alone, as are types and decorators. Each fault is tried in a process forked from one that has everything
heavy imported already: first against the file's own tests, then, if those pass, against those of its neighbours.
"""

import ast
import copy
import importlib
import importlib.abc
import importlib.util
import os
import resource
import sys
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
BAR = 0.85
LIMIT = 60  # seconds of CPU for the tests of one fault; what loops is noticed, and what waits by pytest's own time-out

# Each file with its own tests, and those that are asked where these notice nothing.
FILES: dict[str, tuple[list[str], list[str]]] = {
    "gate/target.py": (["gate/test_target.py"], ["fuzz"]),
    "gate/query.py": (["gate/test_query.py"], ["gate/test_scopes.py"]),
    "gate/browser.py": (["gate/test_browser.py"], ["console/test_callback.py"]),
    "gate/patterns.py": (["gate/test_patterns.py"], ["gate/test_scopes.py"]),
    "gate/rows.py": (["gate/test_rows.py"], ["gate/test_scopes.py", "brokers/test_tables.py"]),
    "gate/scopes.py": (["gate/test_scopes.py"], ["brokers/test_rows.py", "brokers/test_tables.py"]),
    "gate/clients.py": (["gate/test_clients.py"], ["relay/test_headers.py", "test_clientkeys.py"]),
    "gate/fill.py": (["gate/test_fill.py"], ["test_gateway_rows.py"]),
    "gate/orderrule.py": (["gate/test_orderrule.py"], ["gate/test_orders.py", "brokers/test_ordering.py"]),
    "gate/orders.py": (["gate/test_orders.py"], ["gate/test_guards.py"]),
    "gate/guards.py": (["gate/test_guards.py"], ["gate/test_accounts.py"]),
    "gate/accounts.py": (["gate/test_accounts.py"], ["gate/test_guards.py"]),
    "gate/bodies.py": (["gate/test_bodies.py"], ["gate/test_orders.py", "gate/test_fill.py", "gate/test_accounts.py"]),
    "gate/halt.py": (["gate/test_halt.py"], ["test_halts.py"]),
    "gate/turns.py": (["gate/test_turns.py"], ["gate/test_budget_rules.py"]),
    "gate/window.py": (["gate/test_window.py"], ["gate/test_budget.py", "gate/test_budget_rules.py"]),
    "gate/budget.py": (["gate/test_budget.py"], ["gate/test_budget_rules.py"]),
    "gate/ratehead.py": (["gate/test_ratehead.py"], ["gate/test_budget.py"]),
    "relay/headers.py": (["relay/test_headers.py"], ["fuzz"]),
    "plainhead.py": (["test_plainhead.py"], ["fuzz"]),
    "tokens/grant.py": (["tokens/test_grant.py"], ["tokens/test_keeper.py", "tokens/test_stored.py"]),
}  # fmt: skip
HEAVY = (
    "pytest", "hypothesis", "xdist", "pytest_asyncio", "aiohttp", "yarl", "cryptography.x509", "pydantic", "yaml",
    "structlog", "blockbuster", "psutil", "prometheus_client", "asyncpg", "jinja2", "click",
)  # fmt: skip

_COMPARED: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.Lt], ast.GtE: [ast.Gt, ast.Lt], ast.Is: [ast.IsNot], ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn], ast.NotIn: [ast.In],
}  # fmt: skip
_COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
}  # fmt: skip


def changes(node: ast.AST) -> Iterator[ast.AST | None]:
    """What may stand in the place of a node; None for nothing at all."""
    match node:
        case ast.Compare(ops=[op]):
            yield from (_with(node, ops=[other()]) for other in _COMPARED[type(op)])
        case ast.BoolOp(op=op):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            yield from (_with(node, values=[*node.values[:i], *node.values[i + 1 :]]) for i in range(len(node.values)))
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.BinOp(op=op) if type(op) in _COUNTED:
            yield _with(node, op=_COUNTED[type(op)]())
        case ast.Constant():
            yield from (ast.Constant(value) for value in _values(node.value))
        case ast.If() | ast.IfExp() | ast.While():
            yield from (_with(node, test=ast.Constant(value)) for value in (True, False))
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield _with(node, value=ast.Constant(None))
        case ast.Raise() | ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()) | ast.AugAssign():
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()
        case ast.comprehension(ifs=[_, *_]):
            yield _with(node, ifs=[])
        case _:
            return


def _values(value: object) -> list[bool | float | str | bytes]:
    match value:
        case bool():
            return [not value]
        case int() | float():
            return [value + 1, value - 1]
        case str() if value and " " not in value:
            return [value + "~"]
        case bytes() if value:
            return [value + b"~"]
        case _:
            return []


def _with(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def faults(source: str) -> Iterator[tuple[int, str, ast.Module]]:
    """Each faulty version of a source: the line, what was changed, and the whole tree."""
    tree = ast.parse(source)
    for parent, name, place, node in list(_places(tree)):
        for other in changes(node):
            _put(parent, name, place, other)
            yield getattr(node, "lineno", 0), f"{_text(node)} → {_text(other)}", tree
            _put(parent, name, place, node)


def _places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node that may be changed, with the place where it hangs."""
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "decorator_list", "type_params"}:
            continue
        for place, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.AST) and not _is_docstring(tree, name, place, node) and not _is_type(node):
                yield tree, name, place, node
                yield from _places(node)


def _is_docstring(parent: ast.AST, name: str, place: int | None, node: ast.AST) -> bool:
    return name == "body" and place == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_type(node: ast.AST) -> bool:
    """`Literal[…]`, which is an annotation wherever it stands."""
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal"


def _put(parent: ast.AST, name: str, place: int | None, node: ast.AST | None) -> None:
    if place is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[place] = node


def _text(node: ast.AST | None) -> str:
    text = " ".join(ast.unparse(ast.fix_missing_locations(node)).split()) if node else "nothing"
    return text if len(text) <= 60 else f"{text[:57]}…"


class _Faulty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module a faulty tree."""

    def __init__(self, module: str, file: Path, tree: ast.Module) -> None:
        self._module, self._file, self._tree = module, file, tree

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> ModuleSpec | None:
        if fullname != self._module:
            return None
        return importlib.util.spec_from_file_location(fullname, self._file, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        code = compile(ast.fix_missing_locations(self._tree), str(self._file), "exec")
        exec(code, module.__dict__)  # noqa: S102  our own code, with a fault in it


def noticed(name: str, tree: ast.Module, tests: list[str]) -> bool:
    """Whether the tests fail on the faulty tree, in a process of their own."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return status != 0
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))  # no alarm: pytest's time-out takes that for itself
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    module = "proxy." + name.removesuffix(".py").replace("/", ".")
    sys.meta_path.insert(0, _Faulty(module, ROOT / "proxy" / name, tree))
    paths = [str(ROOT / "tests" / test) for test in tests]
    options = [
        "-x",
        "-q",
        "--assert=plain",
        "--hypothesis-profile=brief",
        "-m",
        "not soak and not timing",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:playwright",
    ]
    code = 1
    try:
        code = int(importlib.import_module("pytest").main([*options, *paths]))
    finally:
        os._exit(code)


def score(name: str, sample: int | None = None) -> tuple[int, int]:
    """How many faults of a file were tried and noticed. A line for each that was not."""
    source = (ROOT / "proxy" / name).read_text("utf-8")
    own, others = FILES[name]
    for tests in (own, others):
        if noticed(name, ast.parse(source), tests):
            sys.exit(f"{name}: {', '.join(tests)} fail without a fault")
    total = sum(1 for _ in faults(source))
    step = max(1, total // sample) if sample else 1
    tried = killed = 0
    for number, (line, change, tree) in enumerate(faults(source)):
        if number % step:
            continue
        tried += 1
        if noticed(name, tree, own) or (others and noticed(name, tree, others)):
            killed += 1
        else:
            print(f"proxy/{name}:{line}: nobody notices {change}", flush=True)
    return tried, killed


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT / "tests"]
    for module in HEAVY:
        importlib.import_module(module)
    sample = int(arguments.pop(arguments.index("--sample") + 1)) if "--sample" in arguments else None
    names = [name for name in arguments if name in FILES] or list(FILES)
    tried = killed = 0
    for name in names:
        began = time.monotonic()
        of, hit = score(name, sample)
        tried, killed = tried + of, killed + hit
        print(f"{name}: {hit} of {of} faults noticed, {hit / of:.1%} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"mutation score: {killed / tried:.1%} of {tried} (bar {BAR:.0%})")
    return int(killed < BAR * tried)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
