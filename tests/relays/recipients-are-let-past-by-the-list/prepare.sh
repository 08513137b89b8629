postmap /etc/postfix/listed
