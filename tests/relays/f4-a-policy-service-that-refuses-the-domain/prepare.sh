setsid python3 -c 'exec(open("/opt/policy.py").read().replace("ADDR" + "ESS", "ADDRESS"))' </dev/null >/dev/null 2>&1 &
