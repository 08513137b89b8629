postmap /etc/postfix/relayed
postmap /etc/postfix/transport
