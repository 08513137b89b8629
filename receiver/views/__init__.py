"""Data to text: what `review`, `history` and `status` print, made of the same records that `--json` gives."""
