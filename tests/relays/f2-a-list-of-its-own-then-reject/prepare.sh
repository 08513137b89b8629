postmap /etc/postfix/valid
