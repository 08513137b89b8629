from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.settings import MEGABYTE
from lab.host import LabHost
from receiver.upload.formats import BadExport
from receiver.upload.stream import read_upload, strip_end_mark

REPO = Path(__file__).resolve().parent.parent.parent
EXPORT = b"Obj-Class\tE-mail addresses\tSecondary-Proxy-Addresses\r\nMailbox\tSMTP:anna@acme.example\t\r\n"
MARK = b"#postern end\r\n"
MISSING = "the end mark is missing: the export was cut off on its way, or runexport.bat did not send it"
NOT_WHOLE = "the end mark is not whole, or something stands behind it: the export was cut off, or changed"
HALF_A_ROW = "the row before the end mark is not whole: the export was cut off before it was sent"
TWO = "there is an end mark before the last line: two exports in one"
AS_TEXT = "the end mark has lost its CR: the export must be sent byte for byte, not as text"


@contextmanager
def sending(*pieces: bytes, pause: float = 0.0, end: bool = True) -> Iterator[int]:
    """Yield a pipe into which another thread writes, as sshd would."""
    reader, writer = os.pipe()
    stopped = threading.Event()

    def send() -> None:
        try:
            for piece in pieces:
                os.write(writer, piece)
                if stopped.wait(pause):
                    return
            if not end:
                stopped.wait()
        except BrokenPipeError:
            pass
        finally:
            os.close(writer)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield reader
    finally:
        os.close(reader)
        stopped.set()
        thread.join()


# ---- taking


def test_what_is_sent_in_pieces_is_taken_whole(tmp_path: Path) -> None:
    pieces = [os.urandom(70_000) for _ in range(30)]
    with sending(*pieces) as stdin:
        assert read_upload(stdin, str(tmp_path), megabytes=4) == b"".join(pieces)
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_sends_nothing_gives_nothing(tmp_path: Path) -> None:
    with sending() as stdin:
        assert read_upload(stdin, str(tmp_path), megabytes=1) == b""


def test_exactly_the_limit_is_taken_and_one_byte_more_is_not(tmp_path: Path) -> None:
    with sending(bytes(MEGABYTE)) as stdin:
        assert len(read_upload(stdin, str(tmp_path), megabytes=1)) == MEGABYTE
    with (
        sending(bytes(MEGABYTE), b"x") as stdin,
        pytest.raises(BadExport, match="larger than 1 MB, which is max_megabytes"),
    ):
        read_upload(stdin, str(tmp_path), megabytes=1)


def test_a_client_that_sends_noise_without_end_is_stopped_at_the_limit(tmp_path: Path) -> None:
    with subprocess.Popen(["cat", "/dev/urandom"], stdout=subprocess.PIPE) as client:
        assert client.stdout
        with pytest.raises(BadExport, match="larger than 2 MB"):
            read_upload(client.stdout.fileno(), str(tmp_path), megabytes=2)
        assert client.poll() is None, "nothing more is read from it"
        client.kill()
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_never_ends_is_given_up(tmp_path: Path) -> None:
    with sending(EXPORT + MARK, end=False) as stdin, pytest.raises(BadExport, match=r"did not end within 0\.2 s"):
        read_upload(stdin, str(tmp_path), megabytes=1, seconds=0.2)


def test_a_client_that_trickles_does_not_win_time_with_each_byte(tmp_path: Path) -> None:
    with sending(*[b"x"] * 100, pause=0.05) as stdin, pytest.raises(BadExport, match=r"did not end within 0\.3 s"):
        read_upload(stdin, str(tmp_path), megabytes=1, seconds=0.3)


def test_an_upload_that_is_killed_leaves_no_file_and_others_cannot_open_it(tmp_path: Path) -> None:
    program = f"from receiver.upload.stream import read_upload; read_upload(0, {str(tmp_path)!r}, 64)"
    taking = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, cwd=REPO)
    assert taking.stdin
    taking.stdin.write(bytes(3 * MEGABYTE))
    taking.stdin.flush()
    while not any(_sizes(taking.pid)):
        time.sleep(0.01)
        assert taking.poll() is None
    assert list(tmp_path.iterdir()) == []
    taking.kill()
    taking.wait()
    taking.stdin.close()
    assert list(tmp_path.iterdir()) == []


def _sizes(pid: int) -> list[int]:
    """Return the sizes of the nameless files that a process holds open."""
    files = [file for file in Path(f"/proc/{pid}/fd").iterdir() if ".upload-" in str(file.readlink())]
    return [file.stat().st_size for file in files]


def test_a_folder_that_is_not_there_is_an_error_of_ours_and_not_the_customers(tmp_path: Path) -> None:
    with sending(EXPORT) as stdin, pytest.raises(FileNotFoundError):
        read_upload(stdin, str(tmp_path / "none"), megabytes=1)


@pytest.mark.host
def test_an_upload_never_fills_the_disk(bookworm: LabHost) -> None:
    bookworm.run("mkdir", "-p", "/var/lib/postern/run", "/usr/local/lib/postern")
    bookworm.tmpfs("/var/lib/postern/run", "70m")
    subprocess.run(
        ["cp", "-r", REPO / "receiver", REPO / "common", bookworm.root / "usr/local/lib/postern"], check=True
    )
    program = """
import sys; sys.path.insert(0, "/usr/local/lib/postern")
from receiver.upload.stream import read_upload
from receiver.outcome import Failed
try:
    read_upload(0, "/var/lib/postern/run", 64)
except Failed as error:
    print(error)
"""
    told = bookworm.run("python3", "-I", "-c", program, stdin=bytes(20 * MEGABYTE))
    assert told.stdout == "/var/lib/postern/run: less than 64 MB free; uploads are refused until there is more\n"


# ---- the end mark


def marked(export: bytes, **said: object) -> bytes:
    words = "".join(f" {name}={value}" for name, value in said.items())
    return export + f"#postern end{words}\r\n".encode()


def test_an_export_is_given_without_its_end_mark() -> None:
    assert strip_end_mark(EXPORT + MARK) == EXPORT


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp1252"])
def test_the_end_mark_is_ascii_behind_any_encoding(encoding: str) -> None:
    export = EXPORT.decode().encode(encoding)
    assert strip_end_mark(export + MARK) == export


def test_an_export_cut_off_anywhere_is_not_taken_for_a_whole_one() -> None:
    whole = EXPORT + MARK
    for size in range(len(whole)):
        with pytest.raises(BadExport):
            strip_end_mark(whole[:size])


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", "nothing was sent: the batch ran without its export"),
        (EXPORT, MISSING),
        (EXPORT + b"#postern e", MISSING),
        (EXPORT + b"#postern end\n", AS_TEXT),
        (EXPORT + MARK[:-2], NOT_WHOLE),
        (EXPORT + MARK + b"\x1a", NOT_WHOLE),
        (EXPORT + MARK + b"\r\n", NOT_WHOLE),
        (EXPORT + b"#postern end rows=x\r\n", NOT_WHOLE),
        (EXPORT[:-9] + MARK, HALF_A_ROW),
        (MARK, HALF_A_ROW),
        (EXPORT + MARK + EXPORT + MARK, TWO),
        (MARK + EXPORT + MARK, TWO),
    ],
)
def test_what_is_wrong_with_an_end_is_said(sent: bytes, why: str) -> None:
    with pytest.raises(BadExport) as refused:
        strip_end_mark(sent)
    assert str(refused.value) == why


def test_two_exports_of_utf_16_in_one_are_seen() -> None:
    export = EXPORT.decode().encode("utf-16")
    with pytest.raises(BadExport, match="two exports in one"):
        strip_end_mark(export + MARK + export + MARK)


def test_a_mark_that_knows_its_rows_and_sum_is_checked() -> None:
    whole = hashlib.sha256(EXPORT).hexdigest()
    assert strip_end_mark(marked(EXPORT, rows=2, sha256=whole)) == EXPORT
    assert strip_end_mark(marked(EXPORT, rows=2)) == EXPORT
    assert strip_end_mark(marked(EXPORT, sha256=whole.upper())) == EXPORT
    wide = EXPORT.decode().encode("utf-16")
    assert strip_end_mark(marked(wide, rows=2, sha256=hashlib.sha256(wide).hexdigest())) == wide


def test_a_row_lost_on_the_way_is_noticed_by_the_count() -> None:
    with pytest.raises(BadExport, match="says 3 rows, there are 2: some were lost on the way"):
        strip_end_mark(marked(EXPORT, rows=3))
    with pytest.raises(BadExport, match="says 3 rows, there are 2"):
        strip_end_mark(marked(EXPORT.decode().encode("utf-16"), rows=3))


def test_a_byte_changed_on_the_way_is_noticed_by_the_sum() -> None:
    whole = hashlib.sha256(EXPORT).hexdigest()
    with pytest.raises(BadExport, match="SHA-256 is not the one the end mark says"):
        strip_end_mark(marked(EXPORT.replace(b"anna", b"anne"), rows=2, sha256=whole))


def test_for_the_operator_the_end_mark_may_be_missing_but_not_broken() -> None:
    assert strip_end_mark(EXPORT, required=False) == EXPORT
    assert strip_end_mark(EXPORT + MARK, required=False) == EXPORT
    assert strip_end_mark(b"", required=False) == b""
    with pytest.raises(BadExport, match="two exports in one"):
        strip_end_mark(EXPORT + MARK + EXPORT + MARK, required=False)
    with pytest.raises(BadExport, match="the end mark is not whole"):
        strip_end_mark(EXPORT + MARK[:-2], required=False)
