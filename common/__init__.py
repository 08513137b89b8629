"""What inventory, deploy, remote and receiver must agree on: standard library of Python 3.9 alone."""
