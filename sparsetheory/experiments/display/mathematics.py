"""Formulas in TeX as plain text, for terminals."""

import re
from functools import cache
from typing import Any

__all__ = ["plain_formula"]

_RELATIONS = "≤≥=≠<>∝⇒→⇔∈∉⊆⊇≈≪≫±"


@cache
def _converter() -> tuple[Any, Any]:
    # Only the command that shows a formula pays for this import.
    from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db
    from pylatexenc.latexwalker import get_default_latex_context_db as parser_db
    from pylatexenc.macrospec import MacroSpec

    parser, writer = parser_db(), get_default_latex_context_db()
    fractions = ("frac", "tfrac", "dfrac")
    parser.add_context_category(
        "formulas",
        macros=[MacroSpec(name, "{{") for name in fractions] + [MacroSpec("operatorname", "{")],
        prepend=True,
    )
    macros = [MacroTextSpec(name, simplify_repl=_fraction) for name in fractions]
    macros += [MacroTextSpec("|", "‖"), MacroTextSpec("ne", "≠")]
    macros += [MacroTextSpec("operatorname", simplify_repl=_name)]
    macros += [MacroTextSpec(name, f"{name} ") for name in ("lg", "ln", "log")]
    macros += [MacroTextSpec(name, " ") for name in (",", ";", ":", "quad", "qquad", " ")]
    macros += [MacroTextSpec(name, "") for name in ("left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "!")]
    writer.add_context_category("formulas", macros=macros, prepend=True)
    return LatexNodes2Text(latex_context=writer, math_mode="text", keep_braced_groups=True), parser


def _fraction(node: Any, l2tobj: Any) -> str:
    # pylatexenc passes the converter by this name.
    top, bottom = (l2tobj.nodelist_to_text([argument]) for argument in node.nodeargd.argnlist)
    return f"{_operand(top)}/{_operand(bottom)}"


def _name(node: Any, l2tobj: Any) -> str:
    return str(l2tobj.nodelist_to_text(node.nodeargd.argnlist[-1].nodelist)) + " "


def _operand(text: str) -> str:
    bare = text.removeprefix("{").removesuffix("}").strip()
    return bare if re.fullmatch(r"\w+|\([^()]*\)", bare) else f"({bare})"


def plain_formula(formula: str) -> str:
    r"""Return a formula with Greek letters and signs in place of commands.

    Parameters
    ----------
    formula : str
        TeX without dollar signs.

    Returns
    -------
    str

    Examples
    --------
    >>> plain_formula(r"\tfrac12 \|x - D c\|^2 + \alpha \|c\|_1 \le \epsilon_{i \le r}")
    '1/2 ‖x - D c‖^2 + α‖c‖_1 ≤ ϵ_{i ≤ r}'
    """
    from pylatexenc.latexwalker import LatexWalker

    converter, parser = _converter()
    nodes = LatexWalker(formula, latex_context=parser).get_latex_nodes()[0]
    text = converter.nodelist_to_text(nodes)
    text = re.sub(rf"\s*([{_RELATIONS}])\s*", r" \1 ", text)
    # Braces are kept where they group more than one sign.
    text = re.sub(r"\{(\w|)\}", r"\1", text)
    return re.sub(r"(?<=\w) (?=[(_)])", "", " ".join(text.split()))
