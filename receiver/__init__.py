"""The half of Postern that is installed on a relay. Standard library of Python 3.9 only."""
