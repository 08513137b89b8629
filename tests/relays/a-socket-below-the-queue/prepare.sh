cat > /usr/local/sbin/srs.py <<'P'
import os, socketserver
path = "/var/spool/postfix/srs"
class Asked(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            size = b""
            while not size.endswith(b":"):
                byte = self.rfile.read(1)
                if not byte: return
                size += byte
            self.rfile.read(int(size[:-1]) + 1)
            self.wfile.write(b"9:NOTFOUND ,")
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): daemon_threads = True
server = Server(path, Asked)
os.chmod(path, 0o666)
open("/run/srs-listens", "w").close()
server.serve_forever()
P
setsid python3 /usr/local/sbin/srs.py < /dev/null > /dev/null 2>&1 &
until [ -e /run/srs-listens ]; do sleep 0.1; done
