"""Stands here for one release: the launchers of release 1.0 name this module while an upgrade replaces them."""

from receiver.admin_cli import main as main
