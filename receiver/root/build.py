"""Stands here for one release: the launchers of release 1.0 name this module while an upgrade replaces them."""

from receiver.tables.build import main as main
