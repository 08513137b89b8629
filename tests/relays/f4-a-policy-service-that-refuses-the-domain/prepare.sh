setsid python3 -c 'exec(open("/opt/policy.py").read().replace("ADDR" + "ESS", "ADDRESS"))' </dev/null >/dev/null 2>&1 &
until python3 -c 'import socket; socket.create_connection(("ADDRESS", 10023))' 2>/dev/null; do sleep 0.1; done
