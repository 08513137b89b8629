"""Stands here for one release: see build.py."""
