postmap /etc/postfix/verified
