postmap /etc/postfix/transport
postmap /etc/postfix/relay_recipients
