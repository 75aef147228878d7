"""Formulas as MathML, which browsers draw themselves: a page needs no script and no internet for them."""
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging


def draw(writer, node):
    "Put a formula into the page; one that cannot be converted is shown as it was typed, with a warning."
    source, display = node.astext().strip(), isinstance(node, nodes.math_block)
    try:
        formula = convert(source, display="block" if display else "inline")
    except Exception as error:  # the converter's errors have no common class
        told = f"latex2mathml cannot read the formula {source} ({error!r}); write it more simply"
        logging.getLogger(__name__).warning(told, location=node)
        formula = f"<code>{writer.encode(source)}</code>"
    writer.body.append(f'<div class="formula">{formula}</div>\n' if display else formula)
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(draw, None), block_renderers=(draw, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
