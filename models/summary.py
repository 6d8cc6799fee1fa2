"""A table of a model's layers: shapes, parameters, multiply-adds."""

from collections.abc import Sequence

from .flops import Layer, totals

HEADER = ("layer", "class", "output", "parameters", "share", "multiply-adds", "share")
LEFT = 3  # the columns that are aligned to the left


def summarize(layers: Sequence[Layer], depth: int = 2) -> str:
    """Return a table of layers, as `count_layers` counts them, down to a depth.

    A row includes the layers inside its layer, and the last row everything. Layers without parameters, as dropout, have
    no row of their own. Of a layer that is called twice, both outputs are shown.

    Args:
        depth: 1 for the stages, 2 with their projections and encoders, 3 with the parts of these, 4 for all.
    """
    rows: list[tuple[str, ...]] = [HEADER]
    for layer in layers:
        inside = [each for each in layers if f"{each.path}.".startswith(f"{layer.path}.")]
        if layer.depth <= depth and (layer.parameters or len(inside) > 1):
            outputs = " ".join(str(list(shape)) for shape in layer.outputs)
            rows.append(("  " * (layer.depth - 1) + layer.path, layer.kind, outputs, *_counts(inside, layers)))
    rows.append(("total", "", "", *_counts(layers, layers)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(_aligned(row, widths)) for row in rows)


def _counts(inside: Sequence[Layer], layers: Sequence[Layer]) -> list[str]:
    """Return the parameters and multiply-adds of some of the layers, each with its share."""
    pairs = zip(totals(inside), totals(layers), strict=True)
    return [text for own, total in pairs for text in (f"{own:,}", f"{own / total:.1%}")]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = enumerate(zip(row, widths, strict=True))
    return [cell.ljust(width) if i < LEFT else cell.rjust(width) for i, (cell, width) in cells]
