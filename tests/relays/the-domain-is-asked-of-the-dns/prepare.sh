postmap /etc/postfix/recipient_access
