postmap /etc/postfix/recipients
