"""Writes `network.py`: the network and its inference as one file of plain torch, cut out of the engine's own sources.

An exported model then loads without this program, and computes what the program computed, because it is the same code.
Definitions that inference does not reach are left out.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ENGINE = "recolabel_worker.reco"
_ROOTS = ((f"{_ENGINE}.network", "build_network"), (f"{_ENGINE}.predict", "predict"))
_HEADER = '''"""The network of an exported ReCoLabel model in plain torch, made from ReCoLabel's own sources.

Backbones named "hf:..." need the package transformers as well.

    network = build_network(num_classes, **config["build"], pretrained=False, for_training=False)
    network.load_state_dict(tensors)
    network.eval()
    probabilities = predict(network, image, device)     # (H, W, 3) uint8 RGB -> (C, H, W) float32
"""

from __future__ import annotations
'''


@dataclass(frozen=True)
class _Module:
    """A source file cut into its top-level definitions."""

    definitions: dict[str, str]  # name -> source with the comments above and the string below it
    uses: dict[str, frozenset[str]]  # name -> every name that occurs in it
    ours: dict[str, tuple[str, str]]  # imported name -> module of the engine, name there
    imports: dict[str, str]  # imported name -> import statement of the standard library or torch


@cache
def network_source() -> str:
    """The text of `network.py`."""
    modules: dict[str, _Module] = {}
    wanted: set[tuple[str, str]] = set()
    order: list[str] = []

    def visit(module_name: str, name: str) -> None:
        if (module_name, name) in wanted:
            return
        module = modules.setdefault(module_name, _cut(module_name))
        if name in module.ours:
            visit(*module.ours[name])
        elif name in module.definitions:
            wanted.add((module_name, name))
            for used in sorted(module.uses[name]):
                visit(module_name, used)
            if module_name not in order:
                order.append(module_name)

    for root in _ROOTS:
        visit(*root)

    order = _dependencies_first(order, modules)
    imports: set[str] = set()
    pieces: list[str] = []
    seen: dict[str, str] = {}
    for module_name in order:
        module = modules[module_name]
        for name, source in module.definitions.items():
            if (module_name, name) not in wanted:
                continue
            assert seen.setdefault(name, module_name) == module_name, f"{name} is defined twice in the engine"
            imports |= {module.imports[used] for used in module.uses[name] if used in module.imports}
            if source not in pieces:
                pieces.append(source)
    return "\n".join([_HEADER, *sorted(imports, key=_import_order), "\n", "\n\n\n".join(pieces), ""])


def _dependencies_first(order: list[str], modules: dict[str, _Module]) -> list[str]:
    found: list[str] = []

    def visit(module_name: str) -> None:
        if module_name in found or module_name not in modules:
            return
        for other, _ in modules[module_name].ours.values():
            visit(other)
        found.append(module_name)

    for module_name in order:
        visit(module_name)
    return [module_name for module_name in found if module_name in order]


def _import_order(statement: str) -> tuple[bool, str]:
    return "torch" in statement or "numpy" in statement, statement


def _cut(module_name: str) -> _Module:
    spec = importlib.util.find_spec(module_name)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    lines = source.splitlines()
    module = _Module({}, {}, {}, {})
    body = ast.parse(source).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Import | ast.ImportFrom):
            _note_import(module, node)
            continue
        for name in _defined_names(node):
            module.definitions[name] = _text(lines, node, following)
            module.uses[name] = frozenset(_names_in(node)) - {name}
    return module


def _note_import(module: _Module, node: ast.Import | ast.ImportFrom) -> None:
    for alias in node.names:
        known_as = alias.asname or alias.name.split(".")[0]
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_ENGINE):
            module.ours[known_as] = (str(node.module), alias.name)
        elif not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            renamed = f" as {alias.asname}" if alias.asname else ""
            origin = f"from {node.module} " if isinstance(node, ast.ImportFrom) else ""
            module.imports[known_as] = f"{origin}import {alias.name}{renamed}"


def _defined_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name) and target.id != "__all__"]


def _names_in(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _text(lines: list[str], node: ast.stmt, following: ast.stmt | None) -> str:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    last = node.end_lineno or node.lineno
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        last = following.end_lineno or last
    return "\n".join(lines[first - 1 : last])
