"""Files that others write, as they are read on a relay."""

from __future__ import annotations

from pathlib import Path

from remote.files import read_text


def test_a_file_that_is_no_utf_8_is_read_and_can_be_written_back(tmp_path: Path) -> None:
    """/etc/passwd and sshd_config may have names in Latin-1."""
    path = tmp_path / "passwd"
    path.write_bytes(b"anna:x:1000:1000:J\xf6rg:/home/anna:/bin/sh\n")
    assert read_text(str(path)).encode("utf-8", "surrogateescape") == path.read_bytes()
