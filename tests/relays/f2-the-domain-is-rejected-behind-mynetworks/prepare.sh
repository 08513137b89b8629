postmap /etc/postfix/gone
