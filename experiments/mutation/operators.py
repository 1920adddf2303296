"""Small faults in a Python file, one at a time: what tests of that file should notice.

A mutant is the file with one expression or statement replaced. Annotations, docstrings, decorators, the texts of errors
and literals that only name something (strings inside formatted strings) stay as they are.
"""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
NAMES = {
    "any": "all",
    "all": "any",
    "ceil": "floor",
    "maximum": "minimum",
    "minimum": "maximum",
    "real": "imag",
    "ones_like": "zeros_like",
    "zeros_like": "ones_like",
    "max": "min",
    "min": "max",
}
"""Functions and attributes that stand for one another."""
LEFT_OUT = ("conj", "stop_gradient", "maximum", "minimum", "broadcast_to", "ceil", "sqrt", "standard_deviation")
"""Functions whose first argument may stand for what they give."""


class Mutant(NamedTuple):
    """One fault.

    Attributes:
        function: Function or class and method that it is in, "" at the module's top.
        name: What was there and what stands there now; with ``function`` no two mutants have the same.
        digest: Of the function around it without annotations and docstrings: other code, other mutant.
        line: Where, from 1.
        source: The whole file.
    """

    function: str
    name: str
    digest: str
    line: int
    source: str


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a file that are Python, in the order of its lines."""
    found, seen = [], Counter()
    offsets = _line_offsets(source)
    data = source.encode()
    for function, owner, node, replacement in _sites(ast.parse(source)):
        before, after = (" ".join(ast.unparse(part).split()) for part in (node, replacement))
        start = offsets[node.lineno - 1] + node.col_offset
        stop = offsets[node.end_lineno - 1] + node.end_col_offset
        text = after if isinstance(replacement, ast.stmt) else f"({after})"
        mutated = (data[:start] + text.encode() + data[stop:]).decode()
        name = f"{_short(before)} → {_short(after)}"
        seen[function, name] += 1
        if seen[function, name] > 1:
            name += f" (place {seen[function, name]})"
        found.append(Mutant(function, name, _digest(owner), node.lineno, mutated))
    return sorted(found, key=lambda mutant: mutant.line)


def _short(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:60]} ... {text[-25:]}"


def _line_offsets(source: str) -> list[int]:
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line.encode()))
    return offsets


def _digest(owner: ast.AST) -> str:
    return hashlib.sha256(ast.unparse(_Bare().visit(ast.parse(ast.unparse(owner)))).encode()).hexdigest()[:12]


class _Bare(ast.NodeTransformer):
    """Leaves out annotations and docstrings."""

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.returns = None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    def visit_arg(self, node):
        node.annotation = None
        return node


def _sites(tree: ast.Module) -> Iterator[tuple[str, ast.AST, ast.AST, ast.AST]]:
    """Function, what belongs to it, node and replacement."""
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            for part in statement.body:
                if isinstance(part, ast.FunctionDef):
                    yield from _of_function(f"{statement.name}.{part.name}", part)
        elif isinstance(statement, ast.FunctionDef):
            yield from _of_function(statement.name, statement)
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            for node, replacement in _of_node(statement.value):
                yield "", statement, node, replacement


def _of_function(name: str, function: ast.FunctionDef) -> Iterator[tuple[str, ast.AST, ast.AST, ast.AST]]:
    defaults = [default for default in (*function.args.defaults, *function.args.kw_defaults) if default is not None]
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    for part in (*defaults, *body):
        for node, replacement in _of_node(part):
            yield name, function, node, replacement


def _of_node(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Replacements of a node and of all below it."""
    for replacement in _replacements(node):
        yield node, replacement
    if isinstance(node, ast.If):
        yield node.test, ast.Constant(True)
        yield node.test, ast.Constant(False)
    if isinstance(node, ast.Raise | ast.JoinedStr):
        return
    skipped = {"annotation", "returns", "decorator_list"}
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        skipped = skipped | {"operand"}  # -1 is one number
    for field, value in ast.iter_fields(node):
        if field not in skipped:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _of_node(child)


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC:
            yield ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.Compare(left, [op], comparators):
            for other in COMPARISONS[type(op)]:
                yield ast.Compare(left, [other()], comparators)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for place in range(len(values)):
                rest = values[:place] + values[place + 1 :]
                yield ast.BoolOp(op, rest) if len(rest) > 1 else rest[0]
        case ast.UnaryOp(ast.USub(), ast.Constant(value)):
            yield ast.UnaryOp(ast.USub(), ast.Constant(value + 1))
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(float(value)):
            yield ast.Constant(2 * value if value else 1.0)
        case ast.Constant(str(value)):
            yield ast.Constant(value + "XX")
        case ast.IfExp(_, body, orelse):
            yield body
            yield orelse
        case ast.Call():
            yield from _of_call(node)
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Raise():
            yield ast.Pass()


def _of_call(node: ast.Call) -> Iterator[ast.AST]:
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    if name in NAMES:
        other = ast.Attribute(called.value, NAMES[name]) if isinstance(called, ast.Attribute) else ast.Name(NAMES[name])
        yield ast.Call(other, node.args, node.keywords)
    if name == "where" and len(node.args) == 3:
        yield node.args[1]
        yield node.args[2]
    if name in LEFT_OUT and node.args:
        yield node.args[0]
    if name == "astype" and isinstance(called, ast.Attribute):
        yield called.value
