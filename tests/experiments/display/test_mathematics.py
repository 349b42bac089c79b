"""Formulas for terminals."""

import pytest

from sparsetheory.experiments.display.mathematics import plain_formula
from sparsetheory.proofs_checks import all_claims


@pytest.mark.parametrize(
    ("formula", "plain"),
    [
        (r"\tfrac12 \|x\|^2 \le \frac{a + b}{2 n}", "1/2 ‖x‖^2 ≤ (a + b)/(2 n)"),
        (r"\sqrt{2 g / n}", "√(2 g / n)"),
        (r"c_i \ne 0 \Rightarrow |c_i| \ge t", "c_i ≠ 0 ⇒ |c_i| ≥ t"),
        (r"\operatorname{rank}_c \ge \rho", "rank_c ≥ ρ"),
        (r"10 \lg \mathrm{MSE} - \ln(b)", "10 lg MSE - ln(b)"),
        (r"\left( a \right),\ j \notin \hat S", "( a), j ∉ Ŝ"),
        (r"x_{i} + x_{i + 1}", "x_i + x_{i + 1}"),
        (r"\text{plain words}", "plain words"),
    ],
)
def test_formulas_become_text(formula, plain):
    assert plain_formula(formula) == plain


@pytest.mark.parametrize("claim", all_claims().values(), ids=lambda claim: claim.name)
def test_every_statement_can_be_read(claim):
    text = plain_formula(claim.statement)
    assert "\\" not in text
    assert text.count("(") == text.count(")") or "[" in text
