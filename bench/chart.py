"""A bar chart as SVG."""

from collections.abc import Sequence
from html import escape

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 780, 190, 170, 22, 10, 46
COLOUR, OURS, TEXT = "#8a94a6", "#0b7a75", "#1d2433"


def bar_chart(title: str, rows: Sequence[tuple[str, float, str]], highlight: str) -> str:
    """Return the chart of `rows` (name, value, label) to scale; names that start with `highlight` stand out."""
    scale = (WIDTH - LEFT - RIGHT) / max(value for _, value, _ in rows)
    height = TOP + len(rows) * (BAR + GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="26" font-size="15" font-weight="bold" fill="{TEXT}">{escape(title)}</text>',
    ]
    for number, (name, value, label) in enumerate(rows):
        y = TOP + number * (BAR + GAP)
        colour = OURS if name.startswith(highlight) else COLOUR
        width = max(1.0, value * scale)
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end" fill="{TEXT}">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{y + 15}" fill="{TEXT}">{escape(label)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
