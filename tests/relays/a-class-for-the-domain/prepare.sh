postmap /etc/postfix/classes
postmap /etc/postfix/valid
