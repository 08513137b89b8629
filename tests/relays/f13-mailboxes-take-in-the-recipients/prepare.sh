postmap /etc/postfix/mailboxes
