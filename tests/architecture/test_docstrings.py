"""What the engine's docstrings say beyond types: that they are there, the shapes of tensors, and the errors."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "worker" / "recolabel_worker" / "reco"
FILES = sorted(ENGINE.rglob("*.py"))

Part = ast.FunctionDef | ast.ClassDef

SHAPE = re.compile(r"\((\.\.\.|[A-Z1-9]'?( \+ 1)?|h, w)(, ?[^()]+|,)?\)|0-dim|`\w+` (numbers|cells)")
"""(B, C, h, w), (P,), (..., C), 0-dim, or in words as "`count` numbers"."""

SHAPE_IN_NAME = re.compile(r"_[A-Z]+$")
"""labels_N, shares_CC: letters that the module's docstring explains."""


def public_parts(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Part]]:
    """Classes, functions and methods whose names begin with no underscore, by dotted name."""
    for node in tree.body:
        if isinstance(node, Part) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_parts(node, f"{prefix}{node.name}.")


def parts_of(file: Path) -> list[tuple[str, Part, str]]:
    """As `public_parts`, with the docstring."""
    parts = public_parts(ast.parse(file.read_text("utf-8")))
    return [(name, node, ast.get_docstring(node) or "") for name, node in parts]


def takes_or_gives_a_tensor(function: ast.FunctionDef) -> bool:
    """Whether one is in its signature by itself, or in a tuple, and its name does not say the shape."""
    arguments = [a for a in [*function.args.args, *function.args.kwonlyargs] if not SHAPE_IN_NAME.search(a.arg)]
    types = [part for part in (*(a.annotation for a in arguments), function.returns) if part]
    choices = [choice for part in types for choice in ast.unparse(part).split(" | ")]
    return any(choice == "Tensor" or choice.startswith("tuple[Tensor") for choice in choices)


def raised_by(node: ast.AST) -> set[str]:
    """Names of the errors that a function's own lines raise and do not catch themselves."""
    inside_try = {
        id(deep) for part in ast.walk(node) if isinstance(part, ast.Try) for own in part.body for deep in ast.walk(own)
    }
    calls = [part.exc for part in ast.walk(node) if isinstance(part, ast.Raise) and id(part) not in inside_try]
    return {call.func.id for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}


def beginnings(node: Part) -> list[ast.AST]:
    """What runs when the part is called: a function itself, a class's `__init__` and `__post_init__`."""
    if isinstance(node, ast.FunctionDef):
        return [node]
    return [own for own in node.body if isinstance(own, ast.FunctionDef) and own.name in ("__init__", "__post_init__")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ENGINE)))
def test_every_public_part_of_the_engine_says_what_it_is(file: Path) -> None:
    assert [name for name, _, text in parts_of(file) if not text] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ENGINE)))
def test_a_function_of_tensors_says_their_shapes(file: Path) -> None:
    silent = [
        name
        for name, node, text in parts_of(file)
        if isinstance(node, ast.FunctionDef) and takes_or_gives_a_tensor(node) and not SHAPE.search(text)
    ]

    assert silent == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ENGINE)))
def test_whatever_raises_an_error_names_it(file: Path) -> None:
    silent = {
        (name, error)
        for name, node, text in parts_of(file)
        for beginning in beginnings(node)
        for error in raised_by(beginning)
        if error not in text.partition("Raises:")[2]
    }

    assert silent == set()
