"""A relay whose answers were changed on their way: each of what `remote/main.py` says there becomes another shape.

The program itself runs in a python3 beside, so that all is as on an honest relay but for what is changed.
"""

from __future__ import annotations

import json
from typing import Any

from lab.host import LabHost

SHAPES: dict[str, Any] = {
    "nothing": None,
    "a number": -7,
    "a huge number": 10**400,
    "a word with escapes": "x\033]0;owned\007\x9b31m\u202e\n\rmx9: all is well",
    "a list": [[{}], 5],
    "an object": {"\033[2J": {"x": [None]}},
    "yes": True,
}
DEPTHS = (1, 2, 3, 4, 5)

PROGRAM = r"""
import json, subprocess, sys
REAL = "/usr/bin/python3.honest"

def changed(value, depth, shape):
    if isinstance(value, str) and value[:1] in "{[" and depth > 0:
        try:
            inner = json.loads(value)
        except ValueError:
            return value if depth > 1 else shape
        return json.dumps(changed(inner, depth, shape))
    if depth == 0 or not isinstance(value, (dict, list)):
        return shape if depth <= 1 else value
    if isinstance(value, dict):
        return {key: changed(each, depth - 1, shape) for key, each in value.items()}
    return [changed(each, depth - 1, shape) for each in value]

order = json.load(open("/etc/hostile.json"))
real = subprocess.Popen([REAL, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
agent = sys.stdin.buffer.readline()
real.stdin.write(agent); real.stdin.flush()
for line in sys.stdin.buffer:
    real.stdin.write(line); real.stdin.flush()
    said = b"\n"
    while said == b"\n":  # which ends what a login script may have begun
        said = real.stdout.readline()
    answer = json.loads(said)
    if "states" in answer:
        answer["states"] = [
            each if each == "same" else changed(each, order["depth"], order["shape"]) for each in answer["states"]
        ]
    sys.stdout.write(json.dumps(answer) + "\n"); sys.stdout.flush()
"""
WRAPPER = """#!/bin/sh
case "$*" in
*remote/main.py*) [ -e /etc/hostile.json ] && exec /usr/bin/python3.honest /opt/hostile.py "$@" ;;
esac
exec /usr/bin/python3.honest "$@"
"""


def make_hostile(host: LabHost) -> None:
    """Put the program between; it changes nothing yet."""
    host.run("sh", "-ec", "cp -L /usr/bin/python3 /usr/bin/python3.honest; rm /usr/bin/python3")
    host.run("install", "-D", "-m", "0644", "/dev/stdin", "/opt/hostile.py", stdin=PROGRAM.encode())
    host.run("install", "-m", "0755", "/dev/stdin", "/usr/bin/python3", stdin=WRAPPER.encode())


def change_answers(host: LabHost, depth: int, shape: str) -> None:
    """Have whatever lies so deep in a state be of a shape from now on."""
    order = json.dumps({"depth": depth, "shape": SHAPES[shape]})
    host.run("install", "-m", "0644", "/dev/stdin", "/etc/hostile.json", stdin=order.encode())
