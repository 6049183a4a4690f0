"""Small charts as inline SVG: nothing is fetched, nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Point = tuple[float, float]

SIZE, LEFT, BOTTOM, TOP, RIGHT = 300, 46, 40, 12, 14


def plot(
    title: str,
    across: str,
    up: str,
    lines: Sequence[Sequence[Point]],
    *,
    dots: Sequence[Point] = (),
    diagonal: bool = False,
    bounds: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0),
) -> str:
    """Lines and dots over axes. ``bounds`` are left, right, bottom and top; what lies outside is moved to the edge."""
    left, right, bottom, top = bounds
    wide, high = (right - left) or 1.0, (top - bottom) or 1.0

    def place(point: Point) -> tuple[float, float]:
        x = min(max((point[0] - left) / wide, 0), 1) * (SIZE - LEFT - RIGHT) + LEFT
        y = SIZE - BOTTOM - min(max((point[1] - bottom) / high, 0), 1) * (SIZE - BOTTOM - TOP)
        return round(x, 1), round(y, 1)

    parts = [
        f'<svg viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}" height="{SIZE}" role="img" aria-label="{escape(title)}">',
        *_axes(bounds),
    ]
    if diagonal:
        parts.append(_line([place((left, bottom)), place((right, top))], "guide"))
    parts += [_line([place(point) for point in line], f"line line{number}") for number, line in enumerate(lines)]
    parts += [f'<circle cx="{x}" cy="{y}" r="3" class="dot"/>' for x, y in map(place, dots)]
    parts.append(f'<text x="{(SIZE + LEFT) / 2}" y="{SIZE - 6}" class="name">{escape(across)}</text>')
    parts.append(
        f'<text x="12" y="{(SIZE - BOTTOM) / 2}" class="name" transform="rotate(-90 12 {(SIZE - BOTTOM) / 2})">'
        f"{escape(up)}</text></svg>"
    )
    return "".join(parts)


def bar(share: float, width: int = 160) -> str:
    """One bar of a table: ``share`` of the full width."""
    filled = round(min(max(share, 0), 1) * width, 1)
    box = f'<svg viewBox="0 0 {width} 10" width="{width}" height="10">'
    return f'{box}<rect width="{filled}" height="10" class="bar"/></svg>'


def _axes(bounds: tuple[float, float, float, float]) -> list[str]:
    left, right, bottom, top = bounds
    parts = [f'<path d="M{LEFT} {TOP}V{SIZE - BOTTOM}H{SIZE - RIGHT}" class="axis"/>']
    for step in range(5):
        share = step / 4
        x = LEFT + share * (SIZE - LEFT - RIGHT)
        y = SIZE - BOTTOM - share * (SIZE - BOTTOM - TOP)
        across, up = left + share * (right - left), bottom + share * (top - bottom)
        parts.append(f'<text x="{x:.0f}" y="{SIZE - BOTTOM + 14}" class="tick across">{across:.3g}</text>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.0f}" class="tick up">{up:.3g}</text>')
    return parts


def _line(points: Sequence[Point], css: str) -> str:
    return f'<polyline points="{" ".join(f"{x},{y}" for x, y in points)}" class="{css}"/>'
