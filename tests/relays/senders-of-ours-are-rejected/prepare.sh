postmap /etc/postfix/access
postmap /etc/postfix/relay
