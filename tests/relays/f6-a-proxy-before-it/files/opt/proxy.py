"""Stands in for HAProxy on port 25: tells smtpd who calls (PROXY protocol, version 1), then passes bytes on."""

import socket
import sys
import threading
from pathlib import Path

ADDRESS = sys.argv[1]


def pass_on(source: socket.socket, to: socket.socket) -> None:
    while data := source.recv(65536):
        to.sendall(data)
    to.shutdown(socket.SHUT_WR)


with socket.create_server((ADDRESS, 25)) as server:
    Path("/run/proxy-listens").touch()
    while True:
        client, (host, port) = server.accept()
        inner = socket.create_connection((ADDRESS, 10025), source_address=(ADDRESS, 0))
        inner.sendall(f"PROXY TCP4 {host} {ADDRESS} {port} 25\r\n".encode())
        for ends in ((client, inner), (inner, client)):
            threading.Thread(target=pass_on, args=ends, daemon=True).start()
