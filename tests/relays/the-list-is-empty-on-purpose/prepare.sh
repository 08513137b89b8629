postmap /etc/postfix/transport
