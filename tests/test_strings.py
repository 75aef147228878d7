"""Arithmetic expressions: the parser against Python's own on strings of the grammar, refusals, scores, the generator."""
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augment_lib.core import InputError
from augment_lib.strings import POINTS, TARGET, WORST, evaluate_expression, expression_score, is_expression, parse_expression, simulate_expressions

X = np.array([-3.0, -0.7, 0.4, 2.5])


def test_values_are_those_of_python():
    names = {"__builtins__": {}, "sin": np.sin, "exp": np.exp, "x": X}
    for text in simulate_expressions(300, longest=13, random_state=1):                  # our own strings: safe to hand to Python
        with np.errstate(all="ignore"):
            expected = np.broadcast_to(eval(re.sub(r"(\d)", r"np.float64(\1)", text), names | {"np": np}), X.shape)
        np.testing.assert_allclose(evaluate_expression(text, X), expected, rtol=1e-12)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="x123+*/()sinexp. _4", max_size=12))
def test_only_the_grammar_is_accepted(text):
    accepted = is_expression(text)
    shorter, reduced = text.replace("sin(", "(").replace("exp(", "("), ""
    if re.search(r"[a-wyz. _4]", shorter) is None:
        reduced = re.sub(r"[x123]", "a", shorter) if not re.search(r"[x123][x123]", shorter) else ""
        while (less := re.sub(r"\(a\)|a[+*/]a", "a", reduced)) != reduced:
            reduced = less
    assert accepted == (reduced == "a")


@pytest.mark.parametrize("text", ["", " ", "x x", "__import__('os').system('true')", "x**2", "1e5", "lambda:x", "x;x", "sin x", "sin()", "exp", "(x", "x)", "x+", "/x", "12", "X", "(" * 5000, "x" * 5000])
def test_foreign_text_is_refused_and_never_run(text):
    with pytest.raises(InputError, match="expression"):
        evaluate_expression(text)
    with pytest.raises(InputError):
        expression_score(text)


@pytest.mark.parametrize("bad", [None, 3, b"x", ["x"]])
def test_what_is_no_string(bad):
    assert not is_expression(bad)
    with pytest.raises(InputError, match="expected a string"):
        parse_expression(bad)


def test_scores():
    assert expression_score(TARGET) == 0 == expression_score("(1/3+x)+sin(x*x)")
    assert expression_score("exp(exp(exp(x)))") == WORST == expression_score("exp(exp(exp(x)))/exp(exp(exp(x)))")      # infinite; not a number
    expected = min(WORST, math.log1p(np.square(POINTS - (1 / 3 + POINTS + np.sin(POINTS**2))).mean()))
    assert math.isclose(expression_score("x"), expected)
    assert expression_score("x", target="x") == 0 and len(POINTS) == 1000 and not (POINTS == 0).any()
    values = evaluate_expression("x")
    values[0] = 99
    assert evaluate_expression("x")[0] == -10                                           # a copy: the points stay


def test_depth_is_no_danger():
    deep = "sin(" * 3000 + "x" + ")" * 3000
    assert len(parse_expression(deep)) == 3001 and np.abs(evaluate_expression(deep, X)).max() <= 1


def test_the_generator():
    found = simulate_expressions(200, shortest=4, longest=9, random_state=3)
    lengths = [len(re.findall(r"[a-z]{3}|.", text)) for text in found]
    assert len(set(found)) == 200 and min(lengths) >= 4 and max(lengths) <= 9 and all(map(is_expression, found))
    assert found == simulate_expressions(200, shortest=4, longest=9, random_state=3) != simulate_expressions(200, shortest=4, longest=9, random_state=4)
    for options, why in [({"n": -1}, "n=-1"), ({"n": 5, "longest": 0}, "longest=0"), ({"n": 5, "shortest": 8, "longest": 3}, "shortest=8"), ({"n": 50, "shortest": 1, "longest": 1}, "only 4 different")]:
        with pytest.raises(InputError, match=why):
            simulate_expressions(random_state=0, **options)
