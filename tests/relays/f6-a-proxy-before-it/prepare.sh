postconf -MX smtp/inet
postconf -Me 'ADDRESS:10024/inet=ADDRESS:10024 inet n - y - - smtpd -o receive_override_options=no_unknown_recipient_checks'
postconf -Me 'ADDRESS:10025/inet=ADDRESS:10025 inet n - y - - smtpd -o smtpd_upstream_proxy_protocol=haproxy'
setsid python3 /opt/proxy.py ADDRESS </dev/null >/dev/null 2>&1 &
until [ -e /run/proxy-listens ]; do sleep 0.1; done
