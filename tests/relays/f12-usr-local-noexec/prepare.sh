python3 -c 'import ctypes; ctypes.CDLL(None).mount(b"tmpfs", b"/usr/local/sbin", b"tmpfs", 8, None)'  # 8: MS_NOEXEC
