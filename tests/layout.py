"""What the tests of figures ask of a layout: no label is cut off, none touches another."""


def visible(texts):
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def check_layout(fig):
    "Every text lies inside the figure; tick labels of an axis, titles and axis labels do not touch."
    fig.canvas.draw()
    renderer, frame = fig.canvas.get_renderer(), fig.bbox
    for ax in fig.axes:
        low, high = sorted(ax.get_xlim())
        xticks = [label for value, label in zip(ax.get_xticks(), ax.get_xticklabels()) if low <= value <= high]
        bottom, top = sorted(ax.get_ylim())
        yticks = [label for value, label in zip(ax.get_yticks(), ax.get_yticklabels()) if bottom <= value <= top]
        titles = [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
        for group in (visible(xticks), visible(yticks), visible(titles)):
            boxes = [text.get_window_extent(renderer) for text in group]
            for text, box in zip(group, boxes):
                inside = box.x0 >= frame.x0 - 1 and box.x1 <= frame.x1 + 1 and box.y0 >= frame.y0 - 1 and box.y1 <= frame.y1 + 1
                assert inside, f"{text.get_text()!r} leaves the figure: {box} in {frame}"
            for i, first in enumerate(boxes):
                for second in boxes[i + 1:]:
                    assert not first.overlaps(second), f"{group[i].get_text()!r} touches another label"
