postmap /etc/postfix/relay_recipients
