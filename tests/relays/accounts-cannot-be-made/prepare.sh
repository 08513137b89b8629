python3 - <<'END'
import ctypes, shutil
shutil.copy2("/etc/passwd", "/var/tmp/passwd")
libc = ctypes.CDLL(None)
if libc.mount(b"/var/tmp/passwd", b"/etc/passwd", None, 0x1000, None) or libc.mount(
    b"none", b"/etc/passwd", None, 0x1021, None
):
    raise SystemExit("not mounted")
END
