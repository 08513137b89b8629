"""What Postern costs, beside its peers and its limits in the same run: a module per question, run by `./inv bench`."""
