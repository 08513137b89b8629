python3 - <<'END'
import ctypes, shutil
shutil.copy2("/etc/postfix/main.cf", "/var/tmp/main.cf")
if ctypes.CDLL(None).mount(b"/var/tmp/main.cf", b"/etc/postfix/main.cf", None, 0x1000, None):
    raise SystemExit("not mounted")
END
