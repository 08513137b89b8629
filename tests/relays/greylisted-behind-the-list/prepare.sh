setsid python3 -c 'import sys; exec(open("/opt/greylist.py").read().replace("ADDR" + "ESS", "ADDRESS"))' </dev/null >/dev/null 2>&1 &
