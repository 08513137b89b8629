"""What differs between two sorted texts, at the speed at which bytes are compared: most of both is alike."""

from __future__ import annotations

_STEP = 256  # bytes compared first; twice as many each time, as long as they are alike


def diff_lines(before: bytes, after: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the lines that went and those that came. Both texts are sorted, and their last lines end."""
    gone: list[bytes] = []
    come: list[bytes] = []
    old = new = 0
    while True:
        alike = _common_prefix_end(before, old, after, new)
        whole = before.rfind(b"\n", old, old + alike) + 1 - old  # bytes of whole lines; less than none: no line
        old, new = old + max(whole, 0), new + max(whole, 0)
        left, right = _line(before, old), _line(after, new)
        if left == right:  # the end of both
            return gone, come
        if left and (left < right or not right):
            gone.append(left)
            old += len(left)
        else:
            come.append(right)
            new += len(right)


def _line(text: bytes, start: int) -> bytes:
    return text[start : text.find(b"\n", start) + 1]


def _common_prefix_end(one: bytes, here: int, other: bytes, there: int) -> int:
    """Return from how many bytes on two texts differ, seen from these places."""
    length, step, most = 0, _STEP, min(len(one) - here, len(other) - there)
    while length < most and _is_same(one, here + length, other, there + length, step):
        length += step
        step *= 2
    while step := step // 2:
        if _is_same(one, here + length, other, there + length, step):
            length += step
    return min(length, most)


def _is_same(one: bytes, here: int, other: bytes, there: int, length: int) -> bool:
    return one[here : here + length] == other[there : there + length]
